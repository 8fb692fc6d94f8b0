/* One step of ADOPT on many tensors, with one pass over memory.
 *
 * Plain C without the headers of Python or torch, so one build serves every release of both. native.py calls it through
 * ctypes; memory.py says which tensors it may take. It is built with -ffp-contract=off, so that every instruction set
 * gives the same bits, and without -ffast-math, so that NaN and inf are kept.
 */

#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#error "built with fast math, the results would differ"
#endif

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What compilers spell differently. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* as -ffp-contract=off, which clang-cl does not have */
#endif
#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#pragma fp_contract(off)
#define INLINE static __forceinline
#define FETCH_ADD(number, more) _InterlockedExchangeAdd64(number, more)
#define PREFETCH(address) (void)(address)
#else
#define INLINE __attribute__((always_inline)) static inline
#define FETCH_ADD(number, more) __atomic_fetch_add(number, more, __ATOMIC_RELAXED)
#define PREFETCH(address) __builtin_prefetch(address)
#endif

/* Functions can be compiled for other instruction sets than the default. On Windows, GCC does not align the stack
 * for the wider ones: https://gcc.gnu.org/bugzilla/show_bug.cgi?id=54412 */
#if defined(__x86_64__) && (defined(__clang__) || (defined(__GNUC__) && !defined(_WIN32)))
#include <cpuid.h>
#define WIDER_SETS
#endif

/* The number of elements that a thread takes at a time. A second thread is not worth it for fewer. */
#define CHUNK 32768

/* A parameter. All its tensors are dense, and have their elements in the same order. */
typedef struct {
    int64_t size, end; /* end: the number of elements up to here, of this and all previous parameters */
    void *param, *grad, *exp_avg, *exp_avg_sq, *compensation; /* compensation: null unless bfloat16 */
    float *step;
    double clip;
    int first; /* this is its first step */
} Row;

typedef struct {
    double beta1, beta2, lr, weight_decay, decouple, eps;
    double grad_factor; /* 1 / grad_scale, negative when maximizing */
    double clip_exp;    /* negative for no clip */
} Options;

INLINE float wide(uint16_t low) {
    uint32_t bits = (uint32_t)low << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To the nearest bfloat16, ties to even. */
INLINE uint16_t narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return value == value ? (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) : 0x7fc0;
}

/* Memory is prefetched for BLOCK elements at a time, because the processor's own prefetching stops at the end of each
 * page. This saves 5% of the step of a large tensor on an AMD EPYC. */
#define BLOCK 32
#define AHEAD_BYTES 384
#define PREFETCH_BLOCK(array)                                              \
    for (int64_t b = 0; b < (int64_t)(BLOCK * sizeof *(array)); b += 64)   \
        PREFETCH((const char *)(array) + AHEAD_BYTES + b)

/* The loop for each kind of parameter. READ and WRITE access a weight. In bfloat16 this is param + compensation, and a
 * compensation that is not finite becomes 0, as in low_precision.py. */
#define STEP step_float32
#define PARAM float
#define REAL float
#define SQRT sqrtf
#define WIDE(x) (x)
#define READ(i) p[i]
#define WRITE(i, weight) p[i] = weight
#include "native_loop.h"

#define STEP step_float64
#define PARAM double
#define REAL double
#define SQRT sqrt
#define WIDE(x) (x)
#define READ(i) p[i]
#define WRITE(i, weight) p[i] = weight
#include "native_loop.h"

#define STEP step_bfloat16
#define PARAM uint16_t
#define REAL float
#define SQRT sqrtf
#define WIDE(x) wide(x)
#define READ(i) (c[i] + wide(p[i]))
#define WRITE(i, weight)                        \
    do {                                        \
        p[i] = narrow(weight);                  \
        float rest = weight - wide(p[i]);       \
        c[i] = rest - rest == 0.0f ? rest : 0;  \
    } while (0)
#include "native_loop.h"

/* The loops for each instruction set. The widest one that the processor has is chosen at run time. */
typedef void Loop(const Row *row, const Options *o, int64_t begin, int64_t end);
#define IN_SET(SET, TARGET)                                                                                          \
    TARGET static void float32_##SET(const Row *r, const Options *o, int64_t i, int64_t j) { step_float32(r, o, i, j); } \
    TARGET static void float64_##SET(const Row *r, const Options *o, int64_t i, int64_t j) { step_float64(r, o, i, j); } \
    TARGET static void bfloat16_##SET(const Row *r, const Options *o, int64_t i, int64_t j) { step_bfloat16(r, o, i, j); }
#define OF_SET(SET) {float32_##SET, float64_##SET, bfloat16_##SET}
IN_SET(plain, )
#ifdef WIDER_SETS
IN_SET(avx2, __attribute__((target("avx2"))))
IN_SET(avx512, __attribute__((target("avx512f"))))
static Loop *const LOOPS[][3] = {OF_SET(plain), OF_SET(avx2), OF_SET(avx512)};
#else
static Loop *const LOOPS[][3] = {OF_SET(plain)};
#endif

/* Returns the index in LOOPS of the widest instruction set that the processor has and whose registers the operating
 * system saves. */
static int best_set(void) {
#ifdef WIDER_SETS
    enum { OSXSAVE = 1 << 27, AVX = 1 << 28, AVX2 = 1 << 5, AVX512F = 1 << 16, YMM = 0x06, ZMM = 0xe6 };
    unsigned eax, ebx, ecx, edx, kept, upper;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & (OSXSAVE | AVX)) != (OSXSAVE | AVX))
        return 0;
    __asm__("xgetbv" : "=a"(kept), "=d"(upper) : "c"(0));
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & AVX2) || (kept & YMM) != YMM)
        return 0;
    return ebx & AVX512F && (kept & ZMM) == ZMM ? 2 : 1;
#else
    return 0;
#endif
}

/* Selects the loops of an instruction set, but no wider one than the processor has, and returns its index. For tests;
 * otherwise the widest set is used. */
static volatile int set = -1;
EXPORT int shim_adopt_use_3(int wanted) {
    int best = best_set();
    set = wanted < best ? wanted : best;
    return set;
}

/* The kinds of parameter, in the order of LOOPS and of KINDS in native.py: the bytes of an element of the parameter and
 * of the state, and DLPack's code for the dtype of the parameter. */
static const struct {
    int64_t param_bytes, state_bytes;
    int code;
} KINDS[] = {{4, 4, 2}, {8, 8, 2}, {2, 4, 4}};
enum { BFLOAT16 = 2, KIND_COUNT = 3 };

typedef struct {
    uint64_t begin, end;
    int written;
} Span;

/* Sorts spans by their beginnings (radix sort, a byte at a time; a byte that is the same in all of them is skipped).
 * Returns the array that holds the result: `spans`, or `spare`, which is as long. */
static Span *sorted(Span *spans, Span *spare, int64_t count) {
    for (int shift = 0; shift < 64; shift += 8) {
        int64_t ends[256] = {0}, end = 0;
        for (int64_t i = 0; i < count; i++)
            ends[(uint8_t)(spans[i].begin >> shift)]++;
        if (count && ends[(uint8_t)(spans->begin >> shift)] == count)
            continue;
        for (int byte = 0; byte < 256; byte++) {
            int64_t here = ends[byte];
            ends[byte] = end;
            end += here;
        }
        for (int64_t i = 0; i < count; i++)
            spare[ends[(uint8_t)(spans[i].begin >> shift)]++] = spans[i];
        Span *other = spans;
        spans = spare;
        spare = other;
    }
    return spans;
}

/* Whether no tensor that is written shares memory with another one, so that the order of the writes does not matter.
 * `spans` is scratch memory for 12 spans per row. */
static int disjoint(const Row *rows, int64_t count, int kind, Span *spans) {
    int64_t n = 0;
    for (const Row *row = rows; row < rows + count; row++) {
        void *starts[] = {row->step, row->grad, row->param, row->exp_avg, row->exp_avg_sq, row->compensation};
        int64_t p = KINDS[kind].param_bytes * row->size, s = KINDS[kind].state_bytes * row->size;
        int64_t bytes[] = {sizeof *row->step, p, p, s, s, row->compensation ? s : 0};
        for (int k = 0; k < 6; k++)
            if (bytes[k])
                spans[n++] = (Span){(uintptr_t)starts[k], (uintptr_t)starts[k] + (uint64_t)bytes[k], k != 1};
    }
    spans = sorted(spans, spans + n, n);
    uint64_t end = 0, written_end = 0;
    for (const Span *span = spans; span < spans + n; span++) {
        if (span->begin < (span->written ? end : written_end))
            return 0;
        end = span->end > end ? span->end : end;
        written_end = span->written && span->end > written_end ? span->end : written_end;
    }
    return 1;
}

typedef struct {
    const Row *rows;
    const Options *options;
    Loop *loop;
    int64_t count, total, next;
} Job;

/* Runs in each thread: takes the next chunk until none is left. So any number of threads does all the work. */
static void work(void *argument) {
    Job *job = argument;
    for (;;) {
        int64_t begin = FETCH_ADD(&job->next, CHUNK);
        int64_t end = begin + CHUNK < job->total ? begin + CHUNK : job->total;
        const Row *row = job->rows;
        for (int64_t left = job->count; left > 0;) { /* find the first row that ends after `begin` */
            int64_t half = left / 2;
            int before = row[half].end <= begin;
            row += before ? half + 1 : 0;
            left = before ? left - half - 1 : half;
        }
        for (; begin < end; row++) {
            int64_t start = row->end - row->size, stop = end < row->end ? end : row->end;
            job->loop(row, job->options, begin - start, stop - start);
            begin = stop;
        }
        if (end == job->total)
            return;
    }
}

#include "native_tensor.h"

/* The columns of tensors. The table has the size of each parameter, and then the addresses of these. */
enum { PARAM, GRAD, EXP_AVG, EXP_AVG_SQ, COMPENSATION, STEP, COLUMNS };

/* Reads the objects of the columns. These are lists of `count` tensors; only that of the compensations may be null. The
 * list after them may be null, else it must have the parameters again. Returns whether that is so. */
static int read_columns(int64_t count, void *const *columns, const Python *python, void **objects) {
    for (int k = 0; k < COLUMNS; k++)
        for (int64_t i = 0; i < count; i++)
            objects[k * count + i] = columns[k] ? python->list_item(columns[k], i) : 0;
    for (int64_t i = 0; columns[COLUMNS] && i < count; i++)
        if (python->list_item(columns[COLUMNS], i) != objects[PARAM * count + i])
            return 0;
    return 1;
}

/* Inspects the objects of the tensors and fills the table. Returns the kind of all parameters; -1 if the kernel cannot
 * take them all. */
static int inspect(int64_t count, void *const *objects, int64_t *table, const Python *python) {
    enum { CPU = 1, FLOAT = 2, SOON = 4 };
    int kind = -1, compensated = count && objects[COMPENSATION * count];
    for (int64_t i = 0; i < count; i++) {
        Tensor param = {0};
        for (int behind = 0; behind < 2; behind++)
            for (int64_t k = 0, j = i + (behind ? SOON : 2 * SOON); k < COLUMNS && j < count; k++)
                prefetch_tensor(objects[k * count + j], python, behind);
        for (int k = 0; k < COLUMNS; k++) {
            Tensor tensor;
            const void *object = objects[k * count + i];
            int64_t *address = &table[(k + 1) * count + i];
            *address = 0;
            if (k == COMPENSATION && !compensated && !object)
                continue;
            if (!object || !is_plain(object, python, k != GRAD) || describe(object, python, &tensor) ||
                tensor.device_type != CPU)
                return -1;
            if (k == PARAM) {
                param = tensor;
                table[i] = size_of(&param);
                for (int each = 0; kind < 0 && each < KIND_COUNT; each++)
                    if (has_dtype(&param, KINDS[each].code, KINDS[each].param_bytes) &&
                        (each == BFLOAT16) == compensated)
                        kind = each;
                if (kind < 0 || table[i] < 0 || !is_dense(&param, table[i]))
                    return -1;
            }
            int64_t bytes = k == STEP ? (int64_t)sizeof(float) : k <= GRAD ? KINDS[kind].param_bytes : KINDS[kind].state_bytes;
            if (!has_dtype(&tensor, k <= GRAD ? KINDS[kind].code : FLOAT, bytes))
                return -1;
            if (k == STEP ? size_of(&tensor) != 1 : k != PARAM && !same_layout(&param, &tensor))
                return -1;
            *address = (intptr_t)(tensor.data + tensor.byte_offset);
            if (*address % bytes || !holds(object, python, *address, bytes * (k == STEP ? 1 : table[i])))
                return -1;
        }
    }
    return kind;
}

/* Tells autograd that the tensors are written. Their objects are in the cache after `inspect`. */
static void count_versions(int64_t count, void *const *objects, const Python *python) {
    for (int64_t i = 0; i < count * COLUMNS; i++)
        if (objects[i] && i / count != GRAD)
            python->bump((const char *)objects[i] + python->impl_at);
}

static int all_zero(int kind, const Row *row) {
    for (int64_t i = 0; i < row->size; i++) {
        const uint16_t *low = row->grad;
        const float *single = row->grad;
        const double *full = row->grad;
        if (!(kind == BFLOAT16 ? wide(low[i]) == 0 : KINDS[kind].param_bytes == 4 ? single[i] == 0 : full[i] == 0))
            return 0;
    }
    return 1;
}

/* Fills `rows`, and returns their number; -1 if a clip is NaN. */
static int64_t read_table(Row *rows, int kind, int64_t count, const int64_t *table, const Options *options,
                          const double *clips) {
    double step = 0, clip = INFINITY;
    Row *row = rows;
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t *at = table + i;
#define NEXT_POINTER ((void *)(intptr_t)*(at += count))
        row->size = *at;
        row->param = NEXT_POINTER;
        row->grad = NEXT_POINTER;
        row->exp_avg = NEXT_POINTER;
        row->exp_avg_sq = NEXT_POINTER;
        row->compensation = NEXT_POINTER;
        row->step = NEXT_POINTER;
        if (options->clip_exp >= 0 && *row->step != step)
            clip = pow(*row->step, options->clip_exp);
        step = *row->step;
        row->first = step == 0;
        row->clip = clips ? clips[i] : clip;
        if (!row->first && row->clip != row->clip)
            return -1;
        if (row->first && options->lr == 0 && all_zero(kind, row))
            continue; /* such a step does not count, see _waits in common.py */
        row->end = total += row->size;
        row++;
    }
    return row - rows;
}

/* Performs a step. Returns 0; or 1 if another form must do it, because a tensor is not plain, tensors overlap, a clip is
 * NaN, or there is not enough memory. Then no value has changed. Must be called with the GIL, which it releases for the
 * work.
 *
 * `table` has the sizes of all parameters, then the addresses of all parameters, and so on in the order of the
 * columns. `clips` has the clip of each parameter if it does not follow from clip_exp, else it is null. `parallel`
 * is GOMP_parallel of torch's OpenMP runtime, or null. If `columns` is not null, the tensors are inspected here and
 * `table` is not read, and no other code runs in this thread until the step is done: no signal handler, no finalizer.
 * Else Python has inspected them, has filled the table, and keeps their memory alive. The number in the name is the version
 * of this interface, so that the library of an older build is not called. */
EXPORT int shim_adopt_7(int kind, int64_t count, int64_t *table, const Options *options, const double *clips,
                 int threads, void (*parallel)(void (*)(void *), void *, unsigned, unsigned), void *const *columns,
                 const Python *python) {
    size_t each = sizeof(Row) + 12 * sizeof(Span) + (columns ? (COLUMNS + 1) * sizeof *table : 0);
    Row *rows = malloc((size_t)count * each + 1);
    Span *spans = (Span *)(rows + count);
    if (rows && columns) {
        void **objects = (void **)spans; /* the spans are filled only after `inspect` */
        table = (int64_t *)(spans + 12 * count);
        kind = read_columns(count, columns, python, objects) ? inspect(count, objects, table, python) : -1;
        if (kind >= 0 && python->bump)
            count_versions(count, objects, python);
    }
    int refused = !rows || kind < 0;
    if (!refused) {
        void *thread = python->release_gil();
        int64_t found = read_table(rows, kind, count, table, options, clips);
        refused = found < 0 || !disjoint(rows, found, kind, spans);
        if (!refused && found) {
            int chosen = set < 0 ? shim_adopt_use_3(INT_MAX) : set;
            Job job = {rows, options, LOOPS[chosen][kind], found, rows[found - 1].end, 0};
            int64_t chunks = (job.total + CHUNK - 1) / CHUNK;
            threads = chunks < threads ? (int)chunks : threads;
            if (threads > 1 && parallel)
                parallel(work, &job, (unsigned)threads, 0);
            else if (chunks)
                work(&job);
            for (int64_t i = 0; i < found; i++)
                *rows[i].step += 1;
        }
        python->take_gil(thread);
    }
    free(rows);
    return refused;
}
