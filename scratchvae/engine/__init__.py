"""Engine. What makes loops fast, and knows no VAE and no formula of the chapter: compiling, vectors, tiles, threads.

In the order to read them:

    jit             @jit, @internal, @inline: Numba at the first call, one set of options, code kept in one folder
    vectors, edges  a vector register as a Numba type, with its operators; loads and stores that stop at an array's end
    series, vector_math         exp, log, tanh, softplus … of a vector
    vector_words, shuffles      32-bit words for the noise; sums over lanes, transposes, compress
    tiles           the micro-kernels: a tile of a product in registers
    products        y = x W + b and its two cotangents for plain arrays, by those
    threads         barrier, static_share and steal, for threads inside one compiled call
    processors      how many threads are worth having
    shared          what threads share, a tuple of arrays, passed by its address
    linkable        functions compiled each by itself and called through a jump table
    cold_start      a second process that compiles half of them
    cache           compiled code on disk, sealed
    numba_patches   whatever leans on Numba's private names; works without

A matrix lies in *micropanels*, and what a product reads number by number is *packed* as well, so that a micro-kernel
reads memory in order (BLIS packs both: these are its micropanels of B, with NR for P, and of A). In names a micropanel
is a `panel`:

      W (I+1, O)     micropanels [O/P][I+1][P]            x (B, I)            packed [B/MR][I+1][MR]
      +--------+      +--+  +--+  +--+   P = 2 vectors    +------+      +--+  MR rows, column by column
      |        |  ->  |  |  |  |  |  |   a row = 2 regs   |      |  ->  |12|
      +--------+      +--+  +--+  +--+                    +------+      +--+
      micro-kernel  C[MR][P] = Σₖ x[k] (broadcast) * W[k][2 vectors]        24 accumulators + 2 + 1 of 32 registers

The bias is row I of W, and meets a column of ones at I of x. Micropanels have a few rows more, for padding, and an odd
number of them, since micropanels a power of two apart would share few sets of the cache.

A micro-kernel takes each operand as (array, index): a flat contiguous array and where the tile begins in it. Nothing is
checked, no alignment asked for. Rows within a micropanel or a tile are P numbers apart, columns within a packed tile
MR; the distance from micropanel to micropanel is an argument where a kernel goes beyond one. C is overwritten, all
`height` rows of it, padding included. MR is 12 with 32 vector registers (AVX-512) and 6 with 16; a row of W takes 2 of
them, the broadcast 1, the accumulators 2 MR. What is left below whole tiles of MR rows is one tile more, of MR, 2/3 MR
or 1/3 MR rows.

    product     y  = x W     A packed, B in micropanels
    product_t   dW = xᵀ dy   both in micropanels, A read across: MR numbers of one row
    dots        dx = dy Wᵀ   both in micropanels, MR/3 × 4 sums by lanes, added at the end
                             with many rows: product, dy packed, Wᵀ transposed a micropanel at a time
    listed      as product or product_t where most of x is zero: over the rows of a micropanel that a list names

Threads: a step is a row of *phases*. A phase is one job or several that do not hang on one another, and each job is cut
into *units*, tiles of its output. `static_share` gives thread t of T the units n t / T to n (t + 1) / T. Where work is
uneven a thread claims its share piece by piece with `steal`, an eighth of a share at a time, by an atomic addition to
that share's count, of which each job of the phase has its own; when its own share is gone, those of the others, so
nobody waits for a slow core longer than a piece takes. Then the `barrier`: arrivals are counted, and who is early
spins. Counts have two sets, for even and odd phases, and each thread clears its own of the next phase before it
arrives. A unit is computed by one thread in a fixed order, and no sum is split between units: the bits do not depend on
T, nor on who helped whom.
"""
