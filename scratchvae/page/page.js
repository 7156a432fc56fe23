"use strict";
// §7.3.1 The page's script. First the mathematics, which needs no document: the formulas of models/vae.py for one row.
// Then the panels: each reads `state`, draws itself, and owns no numbers.

const DATA = globalThis.DATA ?? JSON.parse(document.getElementById("data").textContent);
const [HEIGHT, WIDTH] = DATA.shape, D = HEIGHT * WIDTH;

// ---- what the file holds

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

// float16: sign, five bits of exponent, ten of mantissa
function halves(text) {
  const raw = bytes(text), out = new Float32Array(raw.length / 2);
  for (let i = 0; i < out.length; i++) {
    const h = raw[2 * i] | (raw[2 * i + 1] << 8), e = (h >> 10) & 31, m = h & 1023;
    out[i] = (h >> 15 ? -1 : 1) * (e ? 2 ** (e - 15) * (1 + m / 1024) : (2 ** -14 * m) / 1024);
  }
  return out;
}

function unpacked(text) {
  const raw = bytes(text), stride = Math.ceil(D / 8), rows = [];
  for (let r = 0; r < raw.length; r += stride)
    rows.push(Uint8Array.from({ length: D }, (_, i) => (raw[r + (i >> 3)] >> (7 - (i & 7))) & 1));
  return rows;
}

const W = Object.fromEntries(Object.entries(DATA.weights).map(([name, held]) => [name, halves(held.f16)]));
const ROWS = unpacked(DATA.rows);

// ---- networks: y = x W + b, W (in, out); h = f(…), with f' written in h

const sigmoid = (a) => 0.5 * (1 + Math.tanh(0.5 * a));
const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));
const ACTIVATIONS = {
  tanh: [Math.tanh, (y) => 1 - y * y],
  sigmoid: [sigmoid, (y) => y * (1 - y)],
  softplus: [softplus, (y) => -Math.expm1(-y)],
  relu: [(a) => Math.max(a, 0), (y) => (y > 0 ? 1 : 0)],
  leaky_relu: [(a) => (a > 0 ? a : 0.01 * a), (y) => (y > 0 ? 1 : 0.01)],
  elu: [(a) => (a > 0 ? a : Math.expm1(a)), (y) => (y > 0 ? 1 : 1 + y)],
  identity: [(a) => a, () => 1],
};
const [f, slope] = ACTIVATIONS[DATA.activation];
const norm = (v) => Math.sqrt(v.reduce((sum, a) => sum + a * a, 0));
const LAYERS = [...Array(DATA.layers).keys()];

function dense(x, name) {
  const w = W[`${name}.W`], y = Float64Array.from(W[`${name}.b`]), n = y.length;
  for (let j = 0; j < x.length; j++) {
    const a = x[j], start = j * n;
    if (a !== 0) for (let i = 0; i < n; i++) y[i] += a * w[start + i];
  }
  return y;
}

// dx = dy Wᵀ,   dW = xᵀ dy,   db = dy;   ‖dW‖ = ‖x‖ ‖dy‖
function dense_vjp(dy, x, name, d, norms) {
  const w = W[`${name}.W`], n = dy.length, dx = new Float64Array(x.length);
  for (let j = 0; j < x.length; j++) {
    const start = j * n;
    let sum = 0;
    for (let i = 0; i < n; i++) sum += dy[i] * w[start + i];
    dx[j] = sum;
  }
  if (norms) norms[name] = norm(x) * norm(dy);
  if (d) {
    d[`${name}.W`] = new Float64Array(w.length).map((_, i) => x[Math.floor(i / n)] * dy[i % n]);
    d[`${name}.b`] = dy;
  }
  return dx;
}

// [x, h₁, h₂, …]
function mlp(x, net) {
  const hs = [x];
  for (const l of LAYERS) hs.push(dense(hs[l], `${net}.hidden.${l}`).map(f));
  return hs;
}

// [dx, dh₁, dh₂, …], for dh that of the last layer
function mlp_vjp(dh, hs, net, d, norms) {
  const dhs = [dh];
  for (const l of [...LAYERS].reverse()) {
    const da = dhs[0].map((v, i) => v * slope(hs[l + 1][i]));
    dhs.unshift(dense_vjp(da, hs[l], `${net}.hidden.${l}`, d, norms));
  }
  return dhs;
}

// q(z | x) = N(μ, diag σ²)
function enc(x) {
  const hs = mlp(x, "q"), h = hs[hs.length - 1];
  return { hs, mu: dense(h, "q.mu"), log_var: dense(h, "q.log_var") };
}

// p(x | z): logits a, P(x = 1) = sigmoid(a)
function dec(z) {
  const hs = mlp(z, "p"), a = dense(hs[hs.length - 1], "p.logits");
  return { hs, a, p: a.map(sigmoid) };
}

const log_prob = (x, a) => a.reduce((sum, v, i) => sum + x[i] * v - softplus(v), 0); // log p(x | z), nats
const log_prior = (z) => -Math.log(2 * Math.PI) - 0.5 * (z[0] * z[0] + z[1] * z[1]);
const sample = (q, eps) => q.mu.map((m, k) => m + Math.exp(q.log_var[k] / 2) * eps[k]); // z = μ + σ ε
const kl_of = (q) => q.mu.reduce((sum, m, k) => sum + 0.5 * (m * m + Math.exp(q.log_var[k]) - 1 - q.log_var[k]), 0);

// L = log p(x | z) − KL(q ‖ p): Kingma & Welling 2014, eq. 10
function elbo(x, eps, q = enc(x)) {
  const z = sample(q, eps), p = dec(z), reconstruction = log_prob(x, p.a), kl = kl_of(q);
  return { q, z, p, reconstruction, kl, L: reconstruction - kl };
}

// r = log p(x | z) and its slope dz
function through_decoder(x, z, d = null, norms = null) {
  const p = dec(z), da = p.a.map((a, i) => x[i] - sigmoid(a));
  const dh = dense_vjp(da, p.hs[p.hs.length - 1], "p.logits", d, norms), dhs = mlp_vjp(dh, p.hs, "p", d, norms);
  return { r: log_prob(x, p.a), da, dhs, dz: dhs[0] };
}

// elbo, walked in reverse; with `all` also every parameter's cotangent, by name
function grad(x, eps, all = false, q = enc(x)) {
  const forward = elbo(x, eps, q), norms = {}, d = all ? {} : null, sd = q.log_var.map((v) => Math.exp(v / 2));
  const { da, dhs, dz } = through_decoder(x, forward.z, d, norms);
  const dmu = dz.map((v, k) => v - q.mu[k]); // dμ = dz, and − KL
  const dlog_var = dz.map((v, k) => 0.5 * v * sd[k] * eps[k] - 0.5 * (sd[k] * sd[k] - 1)); // dlog σ² = ½ dz σ ε, and − KL
  const h = q.hs[q.hs.length - 1], other = dense_vjp(dlog_var, h, "q.log_var", d, norms);
  const dh = dense_vjp(dmu, h, "q.mu", d, norms).map((v, i) => v + other[i]); // h feeds both heads
  return { ...forward, da, dhs, dz, dmu, dlog_var, dhs_q: mlp_vjp(dh, q.hs, "q", d, norms), norms, d };
}

// L after one step θ + η dθ of gradient ascent along that row's cotangents, with the same ε
function after_step(x, eps, d, eta) {
  const kept = { ...W };
  for (const name in d) W[name] = W[name].map((w, i) => w + eta * d[name][i]);
  try { return elbo(x, eps).L; } finally { Object.assign(W, kept); }
}

// ---- the integrals of two latents, by the trapezoid rule (tasks/quadrature.py); `yield` lets the page breathe

function log_sum_exp(values) {
  const top = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return top + Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
}

const BOX = 6, NODES = 77, NEGLIGIBLE = 20; // a first grid over ±BOX; nats below the peak
const line = (low, high, n) => Float64Array.from({ length: n }, (_, i) => low + ((high - low) * i) / (n - 1));
const first = { done: 0, logits: null, rest: null }; // log p(x | z) = x·a − Σ softplus(a): the same grid for every x

function* first_grid() {
  const axis = line(-BOX, BOX, NODES);
  first.logits ??= new Float32Array(NODES * NODES * D);
  first.rest ??= new Float64Array(NODES * NODES);
  while (first.done < NODES * NODES) {
    const n = first.done, { a } = dec([axis[Math.floor(n / NODES)], axis[n % NODES]]);
    first.logits.set(a, n * D);
    first.rest[n] = a.reduce((sum, v) => sum - softplus(v), 0);
    first.done++;
    yield first.done / (NODES * NODES);
  }
  return axis;
}

// log p(x) = log ∫ p(x | z) p(z) dz: {value, error}, the error being the change by the last doubling
function* evidence(x, tolerance = 1e-3) {
  const axis = yield* first_grid(), lit = [];
  x.forEach((v, i) => v && lit.push(i));
  const on_grid = first.rest.map((rest, n) => {
    let sum = rest + log_prior([axis[Math.floor(n / NODES)], axis[n % NODES]]);
    for (const i of lit) sum += first.logits[n * D + i];
    return sum;
  });
  const floor = on_grid.reduce((a, b) => Math.max(a, b)) - NEGLIGIBLE, alive = [[], []];
  on_grid.forEach((v, n) => { if (v > floor) { alive[0].push(axis[Math.floor(n / NODES)]); alive[1].push(axis[n % NODES]); } });
  const h = axis[1] - axis[0], ends = alive.map((v) => [Math.min(...v) - h, Math.max(...v) + h]);
  let last = Infinity;
  for (let n = 17; ; n = 2 * n - 1) {
    const [u, v] = ends.map(([low, high]) => line(low, high, n)), values = [];
    for (const a of u) for (const b of v) {
      values.push(log_prob(x, dec([a, b]).a) + log_prior([a, b]));
      if (values.length % 4 === 0) yield values.length / (n * n);
    }
    const value = log_sum_exp(values) + Math.log((u[1] - u[0]) * (v[1] - v[0])), error = Math.abs(value - last);
    if (error < tolerance || n > 128) return { value, error };
    last = value;
  }
}

// E_q[log p(x | z)] on the grid μ ± width σ, which moves with q
function* expected(x, q, n = 21, width = 5) {
  const t = line(-width, width, n), r = [], w = [];
  for (const a of t) for (const b of t) {
    w.push(Math.exp(-0.5 * (a * a + b * b)));
    r.push(log_prob(x, dec(sample(q, [a, b])).a));
    if (r.length % 4 === 0) yield r.length / (n * n);
  }
  return r.reduce((sum, v, i) => sum + w[i] * v, 0) / w.reduce((a, b) => a + b);
}

function finish(generator) {
  for (;;) { const { done, value } = generator.next(); if (done) return value; }
}

// ---- noise: a function of its number, so that a page shown twice shows the same

function uniform(n) { // a hash of 32 bits
  let a = Math.imul(n + 1, 0x9e3779b1);
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b);
  a = Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (((a ^ (a >>> 16)) >>> 0) + 0.5) / 2 ** 32;
}
const normals = (n) => { // Box–Muller
  const r = Math.sqrt(-2 * Math.log(uniform(2 * n))), t = 2 * Math.PI * uniform(2 * n + 1);
  return [r * Math.cos(t), r * Math.sin(t)];
};

// one-sample gradients of E_q[r] by μ₁ (§7.2.2, §7.2.4):   path  dz₁,   score  (r − b) ε₁ / σ₁
function one_gradient(x, q, n) {
  const eps = normals(n), { r, dz } = through_decoder(x, sample(q, eps));
  return { r, path: dz[0], score: eps[0] / Math.exp(q.log_var[0] / 2) };
}

// means of S at a time, for the histograms
function grouped(draws, S, value) {
  const out = [];
  for (let i = 0; i + S <= draws.length; i += S) {
    let sum = 0;
    for (let j = i; j < i + S; j++) sum += value(draws[j]);
    out.push(sum / S);
  }
  return out;
}
const mean = (v) => v.reduce((a, b) => a + b, 0) / v.length;
const variance = (v) => { const m = mean(v); return v.reduce((sum, a) => sum + (a - m) ** 2, 0) / (v.length - 1); };

Object.assign(globalThis, { dec, enc, elbo, grad, evidence, expected, finish, after_step, one_gradient, ROWS, normals });

// ---- the panels

const $ = (id) => document.getElementById(id);
const FIXED = { S: [1, 64, 1], eps: [-3, 3, 1], eta: [-6, -1, -4], step: [0, 0, 0] }; // least, most, at the start
const DRAWS = 4000, BUDGET = 8, REACH = 4; // one-sample gradients; ms a frame for integrals; the plane's half width
const state = {};

const tone = {}; // colours of the style sheet, by name
function read_tones() {
  const style = getComputedStyle(document.documentElement);
  for (const name of "paper card ink soft rule x z mu sd eps d path score b bound kl gap evidence".split(" "))
    tone[name] = style.getPropertyValue(`--${name}`).trim();
}

function say(v, digits = 2) {
  const size = Math.abs(v);
  if (!Number.isFinite(v)) return "…";
  const text = size >= 1e5 || (size > 0 && size < 10 ** -digits) ? v.toExponential(1) : v.toFixed(size >= 1000 ? 0 : digits);
  return text.replace("-", "−").replace("e", " e");
}
const mark = (name, text) => `<b class="${name}">${text}</b>`;

// a canvas as sharp as the screen, cleared: its context, width and height in CSS pixels
function fresh(id) {
  const canvas = $(id), { clientWidth: w, clientHeight: h } = canvas, ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(w * ratio), Math.round(h * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, w, h);
  c.font = "13px Georgia, serif";
  c.textBaseline = "middle";
  return [c, w, h];
}

function stroke(c, colour, points, width = 1.5) {
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.beginPath();
  points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
  c.stroke();
}
function dot(c, colour, x, y, radius) {
  c.fillStyle = colour;
  c.beginPath();
  c.arc(x, y, radius, 0, 7);
  c.fill();
}
function word(c, colour, text, x, y, align = "left") {
  c.fillStyle = colour;
  c.textAlign = align;
  c.fillText(text, x, y);
}
function arrow(c, colour, from, to, y) {
  stroke(c, colour, [[from, y], [to, y]], 2.5);
  const tip = Math.sign(to - from) * Math.min(6, Math.abs(to - from));
  stroke(c, colour, [[to - tip, y - 4], [to, y], [to - tip, y + 4]], 2.5);
}

// white paper and dark ink, or the reverse, between the colours of the theme
function picture(id, p) {
  const c = $(id).getContext("2d"), image = c.createImageData(WIDTH, HEIGHT);
  const [low, high] = dark() ? [29, 240] : [255, 28];
  p.forEach((v, i) => { const g = low + (high - low) * v; image.data.set([g, g, g, 255], 4 * i); });
  c.putImageData(image, 0, 0);
}

const dark = () => document.documentElement.dataset.theme === "dark";
const q_now = () => ({ mu: [state.mu, state.q.mu[1]], log_var: [state.log_var, state.q.log_var[1]], hs: state.q.hs });
const eps_now = (q = q_now()) => q.mu.map((m, k) => (state.z[k] - m) / Math.exp(q.log_var[k] / 2));

function draw_plane() {
  const [c, w] = fresh("plane"), at = (z) => [w / 2 + (z[0] * w) / (2 * REACH), w / 2 - (z[1] * w) / (2 * REACH)];
  stroke(c, tone.rule, [[w / 2, 0], [w / 2, w]], 1);
  stroke(c, tone.rule, [[0, w / 2], [w, w / 2]], 1);
  c.font = `${Math.max(9, w / 45)}px Georgia, serif`;
  CODES.forEach((z, i) => {
    const [x, y] = at(z), label = DATA.labels ? DATA.labels[i] : -1, hue = (label * 360 * 0.618 + 20) % 360;
    const colour = label < 0 ? tone.soft : `hsl(${hue} ${dark() ? "45% 68%" : "48% 42%"})`;
    if (label < 0 || DATA.classes[label].length > 2) dot(c, colour, x, y, 2);
    else word(c, colour, DATA.classes[label], x, y, "center");
  });
  const q = q_now(), [x, y] = at(q.mu), [sx, sy] = q.log_var.map((v) => (Math.exp(v / 2) * w) / (2 * REACH));
  for (const k of [1, 2]) {
    c.strokeStyle = tone.mu;
    c.lineWidth = 3 - k;
    c.beginPath();
    c.ellipse(x, y, Math.max(k * sx, 1), Math.max(k * sy, 1), 0, 0, 7);
    c.stroke();
  }
  const [zx, zy] = at(state.z);
  dot(c, tone.card, zx, zy, 8);
  dot(c, tone.z, zx, zy, 6);
}

function draw_pictures() {
  const p = dec(state.z).p;
  picture("digit", p);
  picture("x", state.x);
  const q = q_now();
  const label = state.ink ? "your drawing" : DATA.labels ? `row ${state.row}, a ${DATA.classes[DATA.labels[state.row]]}` : `row ${state.row}`;
  $("n1").innerHTML = `${mark("z", `z = (${say(state.z[0])}, ${say(state.z[1])})`)} · x: ${label} · ` +
    `${mark("mu", `μ = (${say(q.mu[0])}, ${say(q.mu[1])})`)} · ` +
    `${mark("sd", `σ = (${q.log_var.map((v) => say(Math.exp(v / 2), 3)).join(", ")})`)}`;
}

function node_numbers() {
  const q = q_now(), eps = eps_now(q)[0], sd = Math.exp(q.log_var[0] / 2), { r, dz } = through_decoder(state.x, state.z);
  return { q, eps, sd, r, dz: dz[0], path: [dz[0], 0.5 * dz[0] * sd * eps],
    score: [((r - state.b) * eps) / sd, (r - state.b) * 0.5 * (eps * eps - 1)] };
}

function draw_node() {
  const n = node_numbers(), [c, w, h] = fresh("node"), [left, right] = [64, w - 12], wide = right - left;
  const s0 = Math.exp(state.q.log_var[0] / 2), low = Math.min(state.q.mu[0] - 6 * s0, state.z[0] - s0);
  const high = Math.max(state.q.mu[0] + 6 * s0, state.z[0] + s0), [y1, y2, y3, y4] = [0.09, 0.5, 0.72, 0.9].map((v) => v * h);
  const at_eps = (e) => left + wide * (0.5 + Math.max(-4, Math.min(4, e)) / 8), at_z = (z) => left + (wide * (z - low)) / (high - low);
  for (const [y, name, text] of [[y1, "eps", "ε₁"], [y2, "z", "z₁"]]) {
    stroke(c, tone.rule, [[left, y], [right, y]], 1);
    word(c, tone[name], text, 4, y);
  }
  for (let i = 0; i < 60; i++) { // each dot keeps its ε
    const e = normals(1e6 + i)[0], z = n.q.mu[0] + n.sd * e;
    c.globalAlpha = 0.25;
    stroke(c, tone.soft, [[at_eps(e), y1], [at_z(z), y2]], 0.6);
    c.globalAlpha = 0.6;
    dot(c, tone.eps, at_eps(e), y1, 2);
    dot(c, tone.z, at_z(z), y2, 2);
  }
  c.globalAlpha = 1;
  const [m, z] = [at_z(n.q.mu[0]), at_z(state.z[0])];
  stroke(c, tone.soft, [[at_eps(n.eps), y1], [z, y2]], 1.5);
  stroke(c, tone.mu, [[m, y2 - 9], [m, y2 + 9]], 3);
  stroke(c, tone.sd, [[m, y2 + 9], [at_z(n.q.mu[0] + n.sd), y2 + 9]], 3);
  dot(c, tone.eps, at_eps(n.eps), y1, 5);
  dot(c, tone.z, z, y2, 5);
  const length = (v) => (Math.sign(v) * Math.min(1, Math.log10(1 + Math.abs(v)) / 4) * wide) / 2.6, centre = left + wide / 2;
  arrow(c, tone.d, z, Math.max(left, Math.min(right, z + length(n.dz))), y2 - 16);
  const shown = state.how === "both" ? ["path", "score"] : [state.how];
  for (const [k, y, name, text] of [[0, y3, "mu", "dμ₁"], [1, y4, "sd", "dlog σ₁²"]]) {
    word(c, tone[name], text, 4, y);
    stroke(c, tone.rule, [[centre, y - 12], [centre, y + 12]], 1);
    shown.forEach((how, i) => {
      const up = shown.length > 1 ? (i ? 7 : -7) : 0, v = n[how][k], to = centre + length(v);
      arrow(c, tone[how], centre, to, y + up);
      word(c, tone[how], say(v), to + (v < 0 ? -6 : 6), y + up, v < 0 ? "right" : "left");
    });
  }
  const tell = (how) => mark(how, `${how}: dμ₁ = ${say(n[how][0])}, dlog σ₁² = ${say(n[how][1])}`);
  $("n2").innerHTML = `${mark("d", `dz₁ = ${say(n.dz)}`)} · r = ${say(n.r)} · ${shown.map(tell).join(" · ")} · lengths of arrows: log`;
}

const race = { draws: [] };
function draw_race() {
  const [c, w, h] = fresh("race"), { draws } = race;
  const sets = { path: grouped(draws, state.S, (d) => d.path), score: grouped(draws, state.S, (d) => (d.r - state.b) * d.score) };
  if (sets.path.length < 8) return;
  const all = Object.fromEntries(Object.entries(sets).map(([how, v]) => [how, { v, mean: mean(v), var: variance(v) }]));
  const middle = all.path.mean, half = 3.2 * Math.sqrt(Math.max(all.path.var, all.score.var)), bins = 61;
  const at = (v) => (w * (v - middle + half)) / (2 * half), base = { path: 0.46 * h, score: 0.92 * h };
  for (const [how, found] of Object.entries(all)) {
    const counts = new Float64Array(bins);
    for (const v of found.v) {
      const i = Math.floor((bins * (v - middle + half)) / (2 * half));
      if (i >= 0 && i < bins) counts[i]++;
    }
    const top = counts.reduce((a, b) => Math.max(a, b), 1);
    c.fillStyle = tone[how];
    counts.forEach((n, i) => c.fillRect((i * w) / bins, base[how] - (0.4 * h * n) / top, w / bins - 1, (0.4 * h * n) / top));
    stroke(c, tone.rule, [[0, base[how]], [w, base[how]]], 1);
    word(c, tone[how], how, 4, base[how] - 0.36 * h);
  }
  stroke(c, tone.ink, [[at(middle), 0.03 * h], [at(middle), base.score]], 1);
  word(c, tone.soft, say(middle - half, 0), 0, 0.965 * h);
  word(c, tone.soft, say(middle, 0), w / 2, 0.965 * h, "center");
  word(c, tone.soft, say(middle + half, 0), w, 0.965 * h, "right");
  const tell = (how) => mark(how, `${how}: mean ${say(all[how].mean, 1)} ± ${say(Math.sqrt(all[how].var / all[how].v.length), 1)}, ` +
    `variance ${say(all[how].var, 0)}`);
  $("n3").innerHTML = `${tell("path")} · ${tell("score")} · ratio ${mark("score", say(all.score.var / all.path.var, 1))} · ${draws.length} draws`;
}

const found = {}; // what the jobs have found: expected log p(x | z), evidence {value, error}, and how far they are
function draw_bars() {
  const [c, w, h] = fresh("bars"), kl = kl_of(q_now()), r = found.expected, p = found.evidence;
  const L = r === undefined ? NaN : r - kl, gap = p ? p.value - L : NaN;
  if (r === undefined) { word(c, tone.soft, "integrating over q …", 4, h / 2); return; }
  const top = Math.max(r, p ? p.value : r) + 1, low = Math.min(L, p ? p.value : L) - 2, span = top - low;
  const left = 92, at = (v) => left + ((w - left - 8) * (v - low)) / span;
  const bars = [["bound", "E[log p(x | z)]", low, r], ["kl", "− KL(q ‖ p)", L, r], ["bound", "L", low, L],
    ["gap", "gap", L, p ? p.value : L], ["evidence", "log p(x)", low, p ? p.value : low]];
  bars.forEach(([name, text, from, to], i) => {
    const y = ((i + 0.5) * h) / bars.length;
    c.globalAlpha = i === 0 ? 0.45 : 1;
    c.fillStyle = tone[name];
    c.fillRect(at(from), y - 0.3 * (h / bars.length), Math.max(1, at(to) - at(from)), 0.6 * (h / bars.length));
    c.globalAlpha = 1;
    word(c, tone[name], text, 0, y);
  });
  if (!p) word(c, tone.soft, `integrating over z … ${Math.round(100 * (found.share || 0))} %`, at(low) + 6, 0.9 * h);
  $("n4").innerHTML = `${mark("bound", `L = ${say(r)} − ${say(kl)} = ${say(L)}`)} · ${mark("gap", `gap ${say(gap)}`)} · ` +
    `${mark("evidence", `log p(x) = ${p ? say(p.value) : "…"}`)} nats${p ? `, to within ${say(p.error, 4)}` : ""}`;
}

// the walk: [name, colour, forwards, value, backwards, cotangent, ‖dW‖]
function walk_rows() {
  const q = q_now(), g = grad(state.x, eps_now(q), false, q), hidden = (net, l) => g.norms[`${net}.hidden.${l}`];
  const sub = (l) => (LAYERS.length > 1 ? "₁₂₃₄₅₆₇₈₉"[l] : ""), act = `${DATA.activation}(`, one = Math.sign;
  const h = LAYERS.map((l) => [`h${sub(l)}`, "x", `${act}${l ? `h${sub(l - 1)}` : "x"} W + b)`, norm(q.hs[l + 1]), l + 1 < LAYERS.length ? "da Wᵀ" : "dμ W_μᵀ + dlog σ² W_σᵀ",
    norm(g.dhs_q[l + 1]), hidden("q", l)]);
  const back = LAYERS.map((l) => [`h′${sub(l)}`, "x", `${act}${l ? `h′${sub(l - 1)}` : "z"} W + b)`, norm(g.p.hs[l + 1]), "da Wᵀ", norm(g.dhs[l + 1]), hidden("p", l)]);
  const rows = [["x", "x", "the row", norm(state.x), "not needed", null], ...h,
    ["μ", "mu", "h W_μ + b", norm(q.mu), "dz − μ", norm(g.dmu), g.norms["q.mu"]],
    ["log σ²", "sd", "h W_σ + b", norm(q.log_var), "½ dz σ ε − ½ (σ² − 1)", norm(g.dlog_var), g.norms["q.log_var"]],
    ["z", "z", "μ + σ ε", norm(g.z), "da Wᵀ", norm(g.dz)], ...back,
    ["a", "x", "h′ W + b, the logits", norm(g.p.a), "x − sigmoid(a)", norm(g.da), g.norms["p.logits"]],
    ["log p(x | z)", "bound", "Σ x a − softplus(a)", g.reconstruction, "dL", 1], ["KL", "kl", "½ Σ (μ² + σ² − 1 − log σ²)", g.kl, "− dL", -1],
    ["L", "bound", "log p(x | z) − KL", g.L, "one", 1]];
  return { rows, g, one };
}

function draw_walk() {
  const { rows, g } = walk_rows(), n = rows.length, size = (v) => Math.max(2, 12 * Math.log10(1 + 10 * Math.abs(v)));
  const cell = (v, on) => `<td class="n${on ? "" : " off"}">${v == null ? "" : `${say(v, 3)}<span style="width:${size(v)}px"></span>`}</td>`;
  $("walk").tBodies[0].innerHTML = rows.map(([name, colour, how, value, back, cotangent, dW], i) => {
    const there = state.step > i, returned = state.step > n + (n - 1 - i);
    const here = state.step - 1 === i ? "here down" : state.step - 1 === n + (n - 1 - i) ? "here" : "";
    const off = returned ? "" : " off";
    return `<tr class="${here}"><td><i class="${colour}">${name}</i></td><td${there ? "" : ' class="off"'}>${how}</td>${cell(value, there)}` +
      `${cell(cotangent, returned).replace('"n', '"n d')}<td class="d${off}">${back}</td>${cell(dW, returned).replace('"n', '"n d')}</tr>`;
  }).join("");
  const done = state.step >= 2 * n, key = [state.x, state.z, state.mu, state.log_var, state.eta].join();
  if (done && found.stepped !== key) {
    const q = q_now(), eps = eps_now(q), own = state.mu === state.q.mu[0] && state.log_var === state.q.log_var[0];
    found.stepped = key;
    found.after = own ? after_step(state.x, eps, grad(state.x, eps, true).d, 10 ** state.eta) : null;
  }
  $("n5").innerHTML = !done ? `step ${state.step} of ${2 * n}` : found.after === null
    ? "q was moved by hand: choose the row again, and the step is the encoder's own"
    : `${mark("bound", `L = ${say(g.L, 3)} → ${say(found.after, 3)}`)} after one step of ${mark("eta", `η = ${say(10 ** state.eta, 6)}`)}`;
}

// ---- state, jobs, controls

const jobs = new Map();
function start_jobs() {
  const q = q_now(), { x } = state;
  delete found.expected;
  race.draws = [];
  jobs.set("expected", [expected(x, q), (v) => (found.expected = v)]);
  jobs.set("race", [(function* () { for (let n = 0; n < DRAWS; n++) { race.draws.push(one_gradient(x, q, n)); yield 0; } })(), () => {}]);
  if (found.of !== x) {
    found.of = x;
    delete found.evidence;
    jobs.set("evidence", [evidence(x), (v) => (found.evidence = v)]);
  }
}

const DRAW = [draw_plane, draw_pictures, draw_node, draw_race, draw_bars, draw_walk];
let moved = true, told = 0;
function frame() {
  if (moved) {
    moved = false;
    DRAW.forEach((draw) => draw());
    show_controls();
  } else if (jobs.size) {
    const until = performance.now() + BUDGET;
    while (jobs.size && performance.now() < until)
      for (const [name, [work, then]] of jobs) {
        const { done, value } = work.next();
        if (done) { then(value); jobs.delete(name); } else if (name === "evidence") found.share = value;
      }
    draw_race();
    draw_bars();
  }
  requestAnimationFrame(frame);
}

function change() {
  moved = true;
  clearTimeout(told);
  told = setTimeout(() => {
    history.replaceState(null, "", address());
    $("live").textContent = ["n1", "n2", "n4"].map((id) => $(id).textContent).join(". ");
  }, 300);
}

function limits() {
  const { mu, log_var } = state.q, sd = Math.exp(log_var[0] / 2), r = Math.floor(2 * log_prob(state.x, dec(mu).a));
  return { ...FIXED, step: [0, 2 * walk_rows().rows.length], row: [0, ROWS.length - 1], b: [r, 0],
    mu: [mu[0] - 4 * sd, mu[0] + 4 * sd], log_var: [log_var[0] - 3, log_var[0] + 3] };
}

function show_controls() {
  const ends = limits(), values = { ...state, eps: eps_now()[0] };
  for (const input of document.querySelectorAll("input[data-s]")) {
    const name = input.dataset.s;
    [input.min, input.max] = ends[name];
    input.value = values[name];
    input.nextElementSibling.textContent = say(values[name], Number(input.step) === 1 ? 0 : 2);
  }
  for (const input of document.querySelectorAll("input[name=how]")) input.checked = input.value === state.how;
}

function take(x) { // a new x: q as the encoder has it, and z a sample of it
  const q = enc(x);
  Object.assign(state, { x, q, mu: q.mu[0], log_var: q.log_var[0], z: Array.from(sample(q, [1, -0.5])) });
  start_jobs();
  change();
}

function set(name, value) {
  if (name === "row") { state.ink = null; state.row = value; take(ROWS[value]); return; }
  const q = q_now(), eps = eps_now(q);
  if (name === "eps") state.z[0] = q.mu[0] + Math.exp(q.log_var[0] / 2) * value;
  else state[name] = value;
  if (name === "mu" || name === "log_var") { state.z = Array.from(sample(q_now(), eps)); start_jobs(); }
  change();
}

function move_z(z) {
  state.z = z.map((v) => Math.max(-REACH, Math.min(REACH, v)));
  change();
}

// #z=1,-0.5&row=7: what differs from the start
const START = { row: 0, b: 0, S: 1, eta: -4, step: 0, how: "both" };
function address() {
  const words = [`z=${state.z.map((v) => +v.toFixed(4)).join()}`, `row=${state.row}`];
  if (state.mu !== state.q.mu[0]) words.push(`mu=${+state.mu.toFixed(4)}`);
  if (state.log_var !== state.q.log_var[0]) words.push(`log_var=${+state.log_var.toFixed(4)}`);
  for (const name of ["b", "S", "eta", "step", "how"]) if (state[name] !== START[name]) words.push(`${name}=${state[name]}`);
  return `#${words.join("&")}`;
}

function go_to(hash) {
  const given = Object.fromEntries(new URLSearchParams(hash.slice(1))), number = (name) => (given[name] ? Number(given[name]) : NaN);
  Object.assign(state, START, { ink: null });
  if (["path", "score", "both"].includes(given.how)) state.how = given.how;
  const row = number("row");
  set("row", ROWS[row] ? row : 0);
  const ends = limits();
  for (const name of ["b", "S", "eta", "step", "mu", "log_var"])
    if (Number.isFinite(number(name))) set(name, Math.max(ends[name][0], Math.min(ends[name][1], number(name))));
  const z = (given.z || "").split(",").map(Number);
  if (z.length === 2 && z.every(Number.isFinite) && given.z) move_z(z);
}

function listen() {
  for (const input of document.querySelectorAll("input[data-s]"))
    input.addEventListener("input", () => set(input.dataset.s, Number(input.value)));
  for (const input of document.querySelectorAll("input[name=how]")) input.addEventListener("change", () => set("how", input.value));
  const plane = $("plane"), to_z = (e) => [(e.offsetX / plane.clientWidth - 0.5) * 2 * REACH, (0.5 - e.offsetY / plane.clientWidth) * 2 * REACH];
  dragged(plane, (e) => move_z(to_z(e)));
  plane.addEventListener("keydown", (e) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key], by = e.shiftKey ? 0.5 : 0.1;
    if (way) { e.preventDefault(); move_z(state.z.map((v, k) => v + by * way[k])); }
  });
  let last = null;
  dragged($("x"), (e) => { last = paint(e, last); }, () => { last = null; });
  const on = (id, act) => $(id).addEventListener("click", act);
  on("clear", () => { state.ink = new Uint8Array(D); take(state.ink); });
  on("mean", () => set("b", Math.round(mean(race.draws.map((d) => d.r)))));
  on("next", () => set("step", Math.min(state.step + 1, limits().step[1])));
  on("back", () => set("step", Math.max(state.step - 1, 0)));
  on("reset", () => go_to(""));
  on("theme", () => theme(dark() ? "light" : "dark"));
  addEventListener("hashchange", () => { if (location.hash !== address()) go_to(location.hash); });
  addEventListener("resize", change);
  let before = "light";
  addEventListener("beforeprint", () => { before = dark() ? "dark" : "light"; theme("light"); DRAW.forEach((draw) => draw()); });
  addEventListener("afterprint", () => theme(before));
}

function dragged(canvas, act, end = () => {}) {
  canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); end(); act(e); });
  canvas.addEventListener("pointermove", (e) => { if (e.buttons) act(e); });
}

// a stroke of the pen from the last point to this one, in pixels of x
function paint(e, last) {
  const canvas = $("x"), to = [(e.offsetX * WIDTH) / canvas.clientWidth, (e.offsetY * HEIGHT) / canvas.clientHeight];
  const ink = state.ink ? Uint8Array.from(state.ink) : new Uint8Array(D), from = last || to, pen = Math.max(HEIGHT, WIDTH) / 24;
  for (let t = 0; t <= 1; t += 0.05)
    for (let i = 0; i < D; i++) {
      const x = (i % WIDTH) + 0.5 - from[0] - t * (to[0] - from[0]), y = Math.floor(i / WIDTH) + 0.5 - from[1] - t * (to[1] - from[1]);
      if (x * x + y * y < pen * pen) ink[i] = 1;
    }
  state.ink = ink;
  take(ink);
  return to;
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "light" : "dark";
  read_tones();
  change();
}

let CODES = [];
function begin() {
  CODES = ROWS.map((x) => Array.from(enc(x).mu));
  $("about").textContent = DATA.about;
  for (const id of ["digit", "x"]) { [$(id).width, $(id).height] = [WIDTH, HEIGHT]; $(id).style.aspectRatio = `${WIDTH} / ${HEIGHT}`; }
  go_to(location.hash);
  theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (e) => theme(e.matches ? "dark" : "light"));
  listen();
  requestAnimationFrame(frame);
}
Object.assign(globalThis, { state, measure: () => { const t = performance.now(); dec(state.z); DRAW.forEach((draw) => draw()); return performance.now() - t; } });
if (typeof document !== "undefined") begin();
