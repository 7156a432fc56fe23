"use strict";
// §7.3.1 The page's script. First the mathematics, which needs no document: the formulas of models/vae.py for one row.
// Then the panels: each reads `state`, draws itself, and owns no numbers.

const DATA = globalThis.DATA ?? JSON.parse(document.getElementById("data").textContent);
const [HEIGHT, WIDTH] = DATA.shape, D = HEIGHT * WIDTH;

// ---- what the file holds
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
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
  const raw = bytes(text), stride = Math.ceil(D / 8), bit = (r, i) => (raw[r * stride + (i >> 3)] >> (7 - (i & 7))) & 1;
  return Array.from({ length: raw.length / stride }, (_, r) => Uint8Array.from({ length: D }, (_, i) => bit(r, i)));
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
  relu: [(a) => Math.max(a, 0), (y) => +(y > 0)],
  leaky_relu: [(a) => Math.max(a, 0.01 * a), (y) => (y > 0 ? 1 : 0.01)],
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
function dense_vjp(dy, x, name, d, norms, need_dx = true) {
  const w = W[`${name}.W`], n = dy.length, dx = new Float64Array(need_dx ? x.length : 0);
  for (let j = 0; j < dx.length; j++) {
    let sum = 0;
    for (let i = 0, start = j * n; i < n; i++) sum += dy[i] * w[start + i];
    dx[j] = sum;
  }
  norms[name] = norm(x) * norm(dy);
  if (d) {
    d[`${name}.W`] = new Float64Array(w.length).map((_, i) => x[Math.floor(i / n)] * dy[i % n]);
    d[`${name}.b`] = dy;
  }
  return dx;
}

// [x, h₁, h₂, …]
const mlp = (x, net) => LAYERS.reduce((hs, l) => [...hs, dense(hs[l], `${net}.hidden.${l}`).map(f)], [x]);

// [dx, dh₁, dh₂, …], for dh that of the last layer; dx is empty where nobody needs it
function mlp_vjp(dh, hs, net, d, norms, need_dx = true) {
  const dhs = [dh];
  for (const l of [...LAYERS].reverse()) {
    const da = dhs[0].map((v, i) => v * slope(hs[l + 1][i]));
    dhs.unshift(dense_vjp(da, hs[l], `${net}.hidden.${l}`, d, norms, need_dx || l > 0));
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
function through_decoder(x, { hs, a, p }, d = null, norms = {}) {
  const da = a.map((_, i) => x[i] - p[i]), dh = dense_vjp(da, hs[hs.length - 1], "p.logits", d, norms);
  const dhs = mlp_vjp(dh, hs, "p", d, norms);
  return { r: log_prob(x, a), da, dhs, dz: dhs[0] };
}

// elbo, walked in reverse; with `all` also every parameter's cotangent, by name
function grad(x, eps, all = false, q = enc(x)) {
  const forward = elbo(x, eps, q), norms = {}, d = all ? {} : null, sd = q.log_var.map((v) => Math.exp(v / 2));
  const { da, dhs, dz } = through_decoder(x, forward.p, d, norms);
  const dmu = dz.map((v, k) => v - q.mu[k]); // dμ = dz, dlog σ² = ½ dz σ ε, each with its part of − KL
  const dlog_var = dz.map((v, k) => 0.5 * v * sd[k] * eps[k] - 0.5 * (sd[k] * sd[k] - 1));
  const h = q.hs[q.hs.length - 1], other = dense_vjp(dlog_var, h, "q.log_var", d, norms);
  const dh = dense_vjp(dmu, h, "q.mu", d, norms).map((v, i) => v + other[i]); // h feeds both heads
  return { ...forward, da, dhs, dz, dmu, dlog_var, dhs_q: mlp_vjp(dh, q.hs, "q", d, norms, false), norms, d };
}

// L after one step θ + η dθ of gradient ascent along that row's cotangents, with the same ε
function after_step(x, eps, d, eta) {
  const kept = { ...W };
  for (const name in d) W[name] = W[name].map((w, i) => w + eta * d[name][i]);
  try { return elbo(x, eps).L; } finally { Object.assign(W, kept); }
}

// ---- the integrals of two latents, by the trapezoid rule (tasks/quadrature.py); `yield` lets the page breathe
const CODES = ROWS.map((x) => Array.from(enc(x).mu));
const REACH = Math.max(3, Math.min(8, Math.ceil(Math.max(...CODES.flat().map(Math.abs))))); // the plane's half width
const BOX = Math.max(7, REACH + 1), NEGLIGIBLE = 20; // half width of the first grid, steps of ¼; nats below the peak
const line = (low, high, n) => Array.from({ length: n }, (_, i) => low + ((high - low) * i) / (n - 1));
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const sum = (values) => values.reduce((a, b) => a + b, 0);

// f at every node of a grid, row by row
function* over(u, v, f) {
  const values = [];
  for (const a of u) for (const b of v) {
    values.push(f([a, b]));
    if (values.length % 4 === 0) yield values.length / (u.length * v.length);
  }
  return values;
}

// log p(x | z) = x·a − Σ softplus(a): one first grid serves every x
const AXIS = line(-BOX, BOX, 8 * BOX + 1), LOGITS = [], REST = [];
const first = over(AXIS, AXIS, (z) => {
  const { a } = dec(z);
  LOGITS.push(Float32Array.from(a));
  REST.push(log_prior(z) - sum(a.map(softplus)));
});

// log p(x) = log ∫ p(x | z) p(z) dz: {value, error}, the error being the change by the last doubling, or infinite where
// the posterior's mass reaches the edge of the first grid
function* evidence(x, tolerance = 1e-3) {
  yield* first;
  const lit = [...x.keys()].filter((i) => x[i]), n = AXIS.length, h = AXIS[1] - AXIS[0];
  const on_grid = LOGITS.map((a, node) => lit.reduce((sum, i) => sum + a[i], REST[node]));
  const alive = [...on_grid.keys()].filter(((floor) => (node) => on_grid[node] > floor)(most(on_grid) - NEGLIGIBLE));
  const ends = [alive.map((node) => AXIS[Math.floor(node / n)]), alive.map((node) => AXIS[node % n])]
    .map((v) => [-most(v.map((a) => -a)) - h, most(v) + h]);
  const cut = most(ends.flat().map(Math.abs)) > BOX;
  for (let n = 17, last = Infinity; ; n = 2 * n - 1) {
    const [u, v] = ends.map(([low, high]) => line(low, high, n));
    const values = yield* over(u, v, (z) => log_prob(x, dec(z).a) + log_prior(z)), top = most(values);
    const value = top + Math.log(sum(values.map((v) => Math.exp(v - top))) * (u[1] - u[0]) * (v[1] - v[0]));
    const error = Math.abs(value - last);
    if (error < tolerance || n > 128) return { value, error: cut ? Infinity : error };
    last = value;
  }
}

// E_q[log p(x | z)] on the grid μ ± width σ, which moves with q
function* expected(x, q, n = 21, width = 5) {
  const t = line(-width, width, n), r = yield* over(t, t, (eps) => log_prob(x, dec(sample(q, eps)).a));
  const w = r.map((_, i) => Math.exp(-0.5 * (t[Math.floor(i / n)] ** 2 + t[i % n] ** 2)));
  return sum(r.map((v, i) => w[i] * v)) / sum(w);
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
function* one_gradients(x, q, draws, count) {
  while (draws.length < count) {
    const eps = normals(draws.length), { r, dz } = through_decoder(x, dec(sample(q, eps)));
    draws.push({ r, path: dz[0], score: eps[0] / Math.exp(q.log_var[0] / 2) });
    yield;
  }
}

// means of S at a time, for the histograms
const grouped = (draws, S, value) =>
  Array.from({ length: Math.floor(draws.length / S) }, (_, i) => mean(draws.slice(i * S, i * S + S).map(value)));
const mean = (v) => sum(v) / v.length;
const variance = (v, m = mean(v)) => sum(v.map((a) => (a - m) ** 2)) / (v.length - 1);

Object.assign(globalThis, { dec, enc, elbo, grad, evidence, expected, one_gradients, after_step, ROWS });

// ---- what the panels share
const $ = (id) => document.getElementById(id);
const WALK = 20, DRAWS = 4000, BUDGET = 10; // steps there and back; one-sample gradients; ms at a time of the jobs
const START = { b: 0, S: 1, eta: -5, step: WALK, how: "both" };
const state = { ...START }; // and row, x, z, q as the encoder has it, mu and log_var of the first latent as they stand
const now = {}; // of this frame: q, eps, g = grad(x, eps)
const found = { draws: [] }; // by the jobs: expected, evidence {value, error}, after, draws; and how far evidence is
const tone = {}, sizes = {}; // the style sheet's colours, by name; canvases in CSS pixels
const dark = () => document.documentElement.dataset.theme === "dark";
const mark = (name, text) => `<b class="${name}">${text}</b>`;
const tell = (id, ...parts) => ($(id).innerHTML = parts.join(" · "));
function say(v, digits = 2) {
  const size = Math.abs(v);
  if (v == null || !Number.isFinite(v)) return "…";
  if (size >= 1e5 || (size > 0 && size < 0.5 * 10 ** -digits)) return v.toExponential(1).replace(/-/g, "−");
  return v.toFixed(size >= 1000 ? 0 : digits).replace("-", "−");
}
function measure_sizes() {
  const style = getComputedStyle(document.documentElement);
  for (const name of "card ink soft rule z mu sd eps d path score bound kl gap evidence".split(" "))
    tone[name] = style.getPropertyValue(`--${name}`).trim();
  for (const id of ["plane", "node", "race", "bars"]) sizes[id] = [$(id).clientWidth, $(id).clientHeight];
  sizes.codes = sizes.plane;
  draw_codes();
}
// a canvas as sharp as the screen, cleared: its context, width and height in CSS pixels
function fresh(id) {
  const canvas = $(id), [w, h] = sizes[id], ratio = window.devicePixelRatio || 1, c = canvas.getContext("2d");
  const [width, height] = [Math.round(w * ratio), Math.round(h * ratio)];
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, w, h);
  return [Object.assign(c, { font: "13px Georgia, serif", textBaseline: "middle" }), w, h];
}
function stroke(c, colour, points, width = 1) {
  Object.assign(c, { strokeStyle: colour, lineWidth: width }).beginPath();
  points.forEach((point) => c.lineTo(...point));
  c.stroke();
}
function dot(c, colour, x, y, radius) {
  Object.assign(c, { fillStyle: colour }).beginPath();
  c.arc(x, y, radius, 0, 7);
  c.fill();
}
const word = (c, colour, text, x, y, textAlign = "left") =>
  Object.assign(c, { fillStyle: colour, textAlign }).fillText(text, x, y);
function arrow(c, colour, from, to, y) {
  const tip = Math.sign(to - from) * Math.min(6, Math.abs(to - from));
  stroke(c, colour, [[from, y], [to, y], [to - tip, y - 4], [to, y], [to - tip, y + 4]], 2.5);
}

// ---- 1: the plane
const on_plane = (z, w) => z.map((v, k) => w / 2 + ((k ? -v : v) * w) / (2 * REACH));

function draw_codes() { // once for each size and theme
  const [c, w] = fresh("codes");
  stroke(c, tone.rule, [[w / 2, 0], [w / 2, w]]);
  stroke(c, tone.rule, [[0, w / 2], [w, w / 2]]);
  c.font = `${Math.max(9, w / 38)}px Georgia, serif`;
  CODES.forEach((code, i) => {
    const at = on_plane(code, w), label = DATA.labels ? DATA.labels[i] : -1, hue = (label * 222.5 + 20) % 360;
    const colour = label < 0 ? tone.soft : `hsl(${hue} ${dark() ? "45% 68%" : "48% 42%"})`;
    if (label < 0 || DATA.classes[label].length > 2) dot(c, colour, ...at, 2);
    else word(c, colour, DATA.classes[label], ...at, "center");
  });
}

function draw_plane() {
  const [c, w] = fresh("plane"), radii = now.q.log_var.map((v) => (Math.exp(v / 2) * w) / (2 * REACH));
  c.drawImage($("codes"), 0, 0, w, w);
  for (const k of [1, 2]) {
    Object.assign(c, { strokeStyle: tone.mu, lineWidth: 3.5 - k }).beginPath();
    c.ellipse(...on_plane(now.q.mu, w), ...radii.map((v) => Math.max(k * v, 1)), 0, 0, 7);
    c.stroke();
  }
  dot(c, tone.card, ...on_plane(state.z, w), 8);
  dot(c, tone.z, ...on_plane(state.z, w), 6);
}

// ink on the theme's paper
function picture(id, p) {
  const c = $(id).getContext("2d"), image = c.createImageData(WIDTH, HEIGHT);
  const [low, high] = dark() ? [29, 240] : [255, 28];
  p.forEach((v, i) => image.data.fill(low + (high - low) * v, 4 * i, 4 * i + 3).fill(255, 4 * i + 3, 4 * i + 4));
  c.putImageData(image, 0, 0);
}

function draw_pictures() {
  picture("digit", now.g.p.p);
  picture("x", state.x);
  const label = DATA.labels ? `, a ${DATA.classes[DATA.labels[state.row]]}` : "", { mu, log_var } = now.q;
  tell("n1", mark("z", `z = (${say(state.z[0])}, ${say(state.z[1])})`),
    `x: ${state.ink ? "your drawing" : `row ${state.row}${label}`}`, mark("mu", `μ = (${say(mu[0])}, ${say(mu[1])})`),
    mark("sd", `σ = (${log_var.map((v) => say(Math.exp(v / 2), 3)).join(", ")})`));
}

// ---- 2: the node, of the first latent
function draw_node() {
  const { q, g } = now, eps = now.eps[0], mu = q.mu[0], sd = Math.exp(q.log_var[0] / 2), dz = g.dz[0];
  const over = g.reconstruction - state.b, shown = state.how === "both" ? ["path", "score"] : [state.how];
  const d = { path: [dz, 0.5 * dz * sd * eps], score: [(over * eps) / sd, over * 0.5 * (eps * eps - 1)] };
  const [c, w, h] = fresh("node"), left = 64, wide = w - left - 12, middle = left + wide / 2, reach = 6 * start_sd();
  const low = Math.min(state.q.mu[0] - reach, state.z[0]), high = Math.max(state.q.mu[0] + reach, state.z[0]);
  const at_eps = (e) => left + wide * (0.5 + Math.max(-4, Math.min(4, e)) / 8);
  const at_z = (z) => left + (wide * (z - low)) / (high - low);
  const [y1, y2, y3, y4] = [0.09, 0.5, 0.72, 0.9].map((v) => v * h);
  for (const [y, name, text] of [[y1, "eps", "ε₁"], [y2, "z", "z₁"], [y3, "mu", "dμ₁"], [y4, "sd", "dlog σ₁²"]])
    word(c, tone[name], text, 4, y);
  for (const y of [y1, y2]) stroke(c, tone.rule, [[left, y], [w - 12, y]]);
  for (let i = 0; i < 60; i++) { // each dot keeps its ε
    const e = normals(1e6 + i)[0], z = at_z(mu + sd * e);
    c.globalAlpha = 0.25;
    stroke(c, tone.soft, [[at_eps(e), y1], [z, y2]], 0.6);
    c.globalAlpha = 0.6;
    dot(c, tone.eps, at_eps(e), y1, 2);
    dot(c, tone.z, z, y2, 2);
  }
  c.globalAlpha = 1;
  const m = at_z(mu), z = at_z(state.z[0]);
  stroke(c, tone.soft, [[at_eps(eps), y1], [z, y2]], 1.5);
  stroke(c, tone.mu, [[m, y2 - 9], [m, y2 + 9]], 3);
  stroke(c, tone.sd, [[m, y2 + 9], [at_z(mu + sd), y2 + 9]], 3);
  dot(c, tone.eps, at_eps(eps), y1, 5);
  dot(c, tone.z, z, y2, 5);
  const length = (v) => (Math.sign(v) * Math.min(1, Math.log10(1 + Math.abs(v)) / 5) * wide) / 2.5;
  arrow(c, tone.d, z, Math.max(left, Math.min(w - 4, z + length(dz))), y2 - 16);
  [y3, y4].forEach((y, k) => {
    stroke(c, tone.rule, [[middle, y - 12], [middle, y + 12]]);
    shown.forEach((how, i) => {
      const v = d[how][k], at = y + (shown.length > 1 ? 14 * i - 7 : 0), to = middle + length(v);
      arrow(c, tone[how], middle, to, at);
      word(c, tone[how], say(v), to + (v < 0 ? -6 : 6), at, v < 0 ? "right" : "left");
    });
  });
  tell("n2", mark("d", `dz₁ = ${say(dz)}`), `r = ${say(g.reconstruction)}`,
    ...shown.map((how) => mark(how, `${how}: dμ₁ = ${say(d[how][0])}, dlog σ₁² = ${say(d[how][1])}`)));
}

// ---- 3: score against path
function draw_race() {
  const [c, w, h] = fresh("race"), { draws } = found, bins = 61, all = { // base line, values
    path: { base: 0.45 * h, v: grouped(draws, state.S, (d) => d.path) },
    score: { base: 0.92 * h, v: grouped(draws, state.S, (d) => (d.r - state.b) * d.score) } };
  if (all.path.v.length < 8) return;
  for (const one of Object.values(all)) Object.assign(one, { mean: mean(one.v), variance: variance(one.v) });
  const middle = all.path.mean, half = 3.2 * Math.sqrt(Math.max(all.path.variance, all.score.variance));
  for (const [how, { base, v }] of Object.entries(all)) {
    const counts = new Float64Array(bins);
    for (const value of v) counts[Math.floor((bins * (value - middle + half)) / (2 * half))]++; // beyond the ends: none
    const unit = (0.4 * h) / Math.max(...counts);
    c.fillStyle = tone[how];
    counts.forEach((n, i) => c.fillRect((i * w) / bins, base - unit * n, w / bins - 1, unit * n));
    stroke(c, tone.rule, [[0, base], [w, base]]);
    word(c, tone[how], how, 4, base - 0.36 * h);
  }
  stroke(c, tone.ink, [[w / 2, 0], [w / 2, all.score.base]]);
  [["left", 0], ["center", 0.5], ["right", 1]].forEach(([align, at]) =>
    word(c, tone.soft, say(middle + half * (2 * at - 1), 0), at * w, 0.965 * h, align));
  tell("n3", ...Object.entries(all).map(([how, { mean, variance, v }]) => mark(how,
    `${how}: mean ${say(mean, 1)} ± ${say(Math.sqrt(variance / v.length), 1)}, variance ${say(variance, 0)}`)),
    `ratio ${mark("score", say(all.score.variance / all.path.variance, 1))}`, `${draws.length} draws`);
}

// ---- 4: the bound
function draw_bars() {
  const [c, w, h] = fresh("bars"), { expected: r, evidence: p } = found, kl = kl_of(now.q), L = r - kl;
  if (r === undefined) return word(c, tone.soft, "integrating over q …", 4, h / 2);
  const top = Math.max(r, p ? p.value : r) + 1, low = Math.min(L, p ? p.value : L) - 2, left = 96, high = h / 5;
  const at = (v) => left + ((w - left - 4) * (v - low)) / (top - low);
  const end = p ? p.value : L, bars = [["bound", "E[log p(x | z)]", low, r], ["kl", "− KL(q ‖ p)", L, r],
    ["bound", "L", low, L], ["gap", "gap", L, end], ["evidence", "log p(x)", low, p ? end : low]];
  bars.forEach(([name, text, a, b], i) => {
    c.globalAlpha = i ? 1 : 0.45;
    c.fillStyle = tone[name];
    c.fillRect(at(a), (i + 0.2) * high, Math.max(1, at(b) - at(a)), 0.6 * high);
    c.globalAlpha = 1;
    word(c, tone[name], text, 0, (i + 0.5) * high);
  });
  if (!p) word(c, tone.soft, `integrating over z … ${say(100 * (found.share || 0), 0)} %`, left + 6, 4.5 * high);
  const sure = p && (p.error < 1 ? `to within ${say(p.error, 4)}` : "but its mass reaches beyond the grid");
  tell("n4", mark("bound", `L = ${say(r)} − ${say(kl)} = ${say(L)}`), mark("gap", `gap ${say(p && p.value - L)}`),
    mark("evidence", `log p(x) = ${say(p && p.value)}`), p ? `nats, ${sure}` : "nats", `bars begin at ${say(low, 0)}`);
}

// ---- 5: the walk; its words stand in the page, its numbers come from here
function draw_walk() {
  const { q, g } = now, n = WALK / 2, hidden = (net) => norm(LAYERS.map((l) => g.norms[`${net}.hidden.${l}`]));
  const lines = [[norm(state.x)], [norm(q.hs[DATA.layers]), norm(g.dhs_q[DATA.layers]), hidden("q")], // value, d, dW
    [norm(q.mu), norm(g.dmu), g.norms["q.mu"]], [norm(q.log_var), norm(g.dlog_var), g.norms["q.log_var"]],
    [norm(g.z), norm(g.dz)], [norm(g.p.hs[DATA.layers]), norm(g.dhs[DATA.layers]), hidden("p")],
    [norm(g.p.a), norm(g.da), g.norms["p.logits"]], [g.reconstruction, 1], [g.kl, -1], [g.L, 1]];
  lines.forEach((numbers, i) => {
    const row = $("walk").tBodies[0].rows[i], there = i + 1, back = 2 * n - i;
    row.className = state.step === there ? "down" : state.step === back ? "up" : "";
    [...row.cells].forEach((cell, k) => cell.classList.toggle("off", k > 0 && state.step < (k < 3 ? there : back)));
    numbers.forEach((v, k) => (row.cells[[2, 3, 5][k]].innerHTML =
      `${say(v, 3)}<span style="width:${2 + 12 * Math.log10(1 + 10 * Math.abs(v))}px"></span>`));
  });
  if (state.step < WALK) return tell("n5", `step ${state.step} of ${WALK}`);
  const key = [state.z, state.eta].join(), own = q.mu[0] === state.q.mu[0] && q.log_var[0] === state.q.log_var[0];
  if (own && found.stepped !== key) {
    Object.assign(found, { stepped: key, after: undefined });
    jobs.set("after", [[].values(), () => {
      found.after = after_step(state.x, now.eps, grad(state.x, now.eps, true).d, 10 ** state.eta);
      moved = true;
    }]);
  }
  if (!own) return tell("n5", "q was moved by hand: choose the row again for a step of the encoder's own");
  const step = mark("eta", `η = ${say(10 ** state.eta, 7)}`);
  tell("n5", mark("bound", `L = ${say(g.L, 3)} → ${say(found.after, 3)}`), step);
}

// ---- jobs, and the frame
const DRAW = [draw_plane, draw_pictures, draw_node, draw_race, draw_bars, draw_walk], jobs = new Map();
let moved = true, told = 0, shown_at = 0;
function start_jobs() {
  const q = q_now(), { x } = state;
  Object.assign(found, { expected: undefined, draws: [], stepped: "" });
  jobs.set("expected", [expected(x, q), (v) => (found.expected = v)]);
  jobs.set("draws", [one_gradients(x, q, found.draws, DRAWS), () => {}]);
  if (found.of === x) return;
  Object.assign(found, { of: x, evidence: undefined, share: 0 });
  jobs.set("evidence", [evidence(x), (v) => (found.evidence = v)]);
}

function draw() {
  const q = q_now(), eps = eps_of(q);
  Object.assign(now, { q, eps, g: grad(state.x, eps, false, q) });
  for (const panel of DRAW) panel();
}

function work() { // between frames
  const until = performance.now() + BUDGET;
  while (!moved && jobs.size && performance.now() < until)
    for (const [name, [job, then]] of jobs) {
      const { done, value } = job.next();
      if (name === "evidence") found.share = value;
      if (done) [jobs.delete(name), then(value)];
    }
  setTimeout(work, jobs.size ? 0 : 50);
}

function frame(at) {
  if (moved) {
    moved = false;
    draw();
    show_controls();
    shown_at = -1;
  } else if (at - shown_at > 100 && shown_at < Infinity) { // the integrals' progress
    shown_at = jobs.size ? at : Infinity;
    draw_race();
    draw_bars();
  }
  requestAnimationFrame(frame);
}

// ---- the state and what changes it
const start_sd = () => Math.exp(state.q.log_var[0] / 2);
const q_now = () => ({ ...state.q, mu: [state.mu, state.q.mu[1]], log_var: [state.log_var, state.q.log_var[1]] });
const eps_of = (q) => q.mu.map((m, k) => (state.z[k] - m) / Math.exp(q.log_var[k] / 2));
const clip = (v, [low, high]) => Math.max(low, Math.min(high, v));
const limits = () => ({
  S: [1, 64], b: state.b_range, eps: [-3, 3], eta: [-7, -3], step: [0, WALK], row: [0, ROWS.length - 1],
  mu: [-4, 4].map((t) => state.q.mu[0] + t * start_sd()), log_var: [-3, 3].map((t) => state.q.log_var[0] + t),
});

function change() {
  moved = true;
  clearTimeout(told);
  told = setTimeout(() => {
    history.replaceState(null, "", address());
    $("live").textContent = ["n1", "n2", "n4"].map((id) => $(id).textContent).join(". ");
  }, 400);
}

function take(x) { // a new x: q as the encoder has it, and z a sample of it
  const q = enc(x), least = Math.floor(2 * log_prob(x, dec(q.mu).a));
  Object.assign(state, { x, q, mu: q.mu[0], log_var: q.log_var[0], b_range: [least, 0], b: Math.max(state.b, least) });
  state.z = [...sample(q, [1.5, -0.5])];
  start_jobs();
  change();
}

function set(name, value) {
  const eps = name === "row" ? [] : eps_of(q_now());
  if (name === "eps") state.z = [...sample(q_now(), [value, eps[1]])];
  else state[name] = value;
  if (name === "mu" || name === "log_var") [(state.z = [...sample(q_now(), eps)]), start_jobs()];
  if (name === "row") [(state.ink = null), take(ROWS[value])];
  change();
}
function move_z(z) {
  state.z = z.map((v) => clip(v, [-REACH, REACH]));
  change();
}

// #z=1,-0.5&row=7: what differs from the start
function address() {
  const words = [`z=${state.z.map((v) => +v.toFixed(4)).join()}`, `row=${state.row}`];
  const own = { ...START, mu: state.q.mu[0], log_var: state.q.log_var[0] };
  for (const name in own) if (state[name] !== own[name]) words.push(`${name}=${state[name]}`);
  return `#${words.join("&")}`;
}

function go_to(hash) {
  const given = new URLSearchParams(hash.slice(1));
  const numbers = (name) => (given.get(name) ?? "").split(",").map(parseFloat);
  Object.assign(state, START, ["path", "score", "both"].includes(given.get("how")) ? { how: given.get("how") } : {});
  set("row", ROWS[numbers("row")] ? +numbers("row") : 0);
  for (const name of ["b", "S", "eta", "step", "mu", "log_var"])
    if (numbers(name).every(Number.isFinite)) set(name, clip(numbers(name)[0], limits()[name]));
  if (numbers("z").length === 2 && numbers("z").every(Number.isFinite)) move_z(numbers("z"));
}

function show_controls() {
  const ends = limits(), values = { ...state, eps: now.eps[0] };
  for (const input of document.querySelectorAll("input[data-s]")) {
    const name = input.dataset.s, [min, max] = ends[name];
    Object.assign(input, { min, max, value: values[name] });
    input.nextElementSibling.textContent = say(values[name], Number(input.step) === 1 ? 0 : 2);
  }
  for (const input of document.querySelectorAll("input[name=how]")) input.checked = input.value === state.how;
}

// ---- the hand: pointer, pen, keys
function dragged(canvas, act) {
  let last = null;
  const point = (e) => [e.offsetX / canvas.clientWidth, e.offsetY / canvas.clientHeight];
  canvas.addEventListener("pointerdown", (e) => {
    canvas.setPointerCapture(e.pointerId);
    act((last = point(e)), last);
  });
  canvas.addEventListener("pointermove", (e) => e.buttons && last && act(point(e), last, (last = point(e))));
}

function pen(to, from) { // a stroke, in shares of the picture
  const ink = state.ink ? Uint8Array.from(state.ink) : new Uint8Array(D), size = Math.max(HEIGHT, WIDTH) / 24;
  for (let t = 0; t <= 1; t += 0.05)
    for (let i = 0; i < D; i++) {
      const [x, y] = [0, 1].map((k) => (from[k] + t * (to[k] - from[k])) * (k ? HEIGHT : WIDTH));
      if (Math.hypot((i % WIDTH) + 0.5 - x, Math.floor(i / WIDTH) + 0.5 - y) < size) ink[i] = 1;
    }
  take((state.ink = ink));
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "light" : "dark";
  measure_sizes();
  change();
}

function listen() {
  for (const input of document.querySelectorAll("input"))
    input.addEventListener("input", () => set(input.dataset.s ?? "how", input.dataset.s ? +input.value : input.value));
  dragged($("plane"), ([x, y]) => move_z([(2 * x - 1) * REACH, (1 - 2 * y) * REACH]));
  dragged($("x"), pen);
  $("plane").addEventListener("keydown", (e) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
    if (!way) return;
    e.preventDefault();
    move_z(state.z.map((v, k) => v + (e.shiftKey ? 0.5 : 0.1) * way[k]));
  });
  const step = (by) => set("step", clip(state.step + by, [0, WALK])), acts = {
    clear: () => take((state.ink = new Uint8Array(D))),
    mean: () => found.draws.length && set("b", Math.round(mean(found.draws.map((d) => d.r)))),
    next: () => step(1), back: () => step(-1), reset: () => go_to(""), theme: () => theme(dark() ? "light" : "dark"),
  };
  for (const id in acts) $(id).addEventListener("click", acts[id]);
  addEventListener("hashchange", () => location.hash !== address() && go_to(location.hash));
  addEventListener("resize", () => [measure_sizes(), change()]);
  let night = false; // ink on white paper, whatever the screen shows
  addEventListener("beforeprint", () => [(night = dark()), theme("light"), draw()]);
  addEventListener("afterprint", () => night && theme("dark"));
}

function begin() {
  const night = matchMedia("(prefers-color-scheme: dark)"), follow = () => theme(night.matches ? "dark" : "light");
  for (const id of ["digit", "x"])
    Object.assign($(id), { width: WIDTH, height: HEIGHT }).style.aspectRatio = WIDTH / HEIGHT;
  $("about").textContent = DATA.about;
  $("reach").textContent = `−${REACH} to ${REACH}`;
  go_to(location.hash);
  follow();
  night.addEventListener("change", follow);
  listen();
  requestAnimationFrame(frame);
  work();
}
Object.assign(globalThis, { state, draw });
if (typeof document !== "undefined") begin();
