/* Calls ADOPT's kernel from a library for the platform of this program, on the cases of a file, with each instruction
 * set that the processor has. Compares every bit with the expected results in the file. Any NaN equals any other:
 * processors differ in which NaN an operation returns. Prints the number of cases; the exit code is 1 if one differs.
 *
 *     kernel_driver LIBRARY CASES
 *
 * tests/adopt/kernel_cases.py writes the file: for each case the arguments of shim_adopt_7, and for each parameter its
 * buffers before the step, in the order of the table, and then the expected buffers. */

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#define OPEN(path) ((void *)LoadLibraryA(path))
#define FIND(library, name) ((void *)GetProcAddress((HMODULE)(library), name))
#else
#include <dlfcn.h>
#define OPEN(path) dlopen(path, RTLD_NOW)
#define FIND(library, name) dlsym(library, name)
#endif

typedef int (*Kernel)(int, int64_t, const int64_t *, const void *, const double *, int, void *, void *const *, const void *);

typedef int (*Use)(int);

enum { COLUMNS = 6, MOST = 64, BFLOAT16 = 2 };

/* Returns whether two values of `width` bytes are the same, or both NaN. */
static int same(const char *a, const char *b, int width) {
    uint64_t x = 0, y = 0, sign, infinity;
    memcpy(&x, a, (size_t)width);
    memcpy(&y, b, (size_t)width);
    sign = (uint64_t)1 << (8 * width - 1);
    infinity = width == 2 ? 0x7f80 : width == 4 ? 0x7f800000 : (uint64_t)0x7ff << 52;
    return x == y || ((x & ~sign) > infinity && (y & ~sign) > infinity);
}

/* For the struct Python of native.c. The kernel calls only its functions for the GIL, the second and the third. */
static void *release(void) { return 0; }
static void take(void *thread) { (void)thread; }

static void *must(void *pointer, const char *what) {
    if (!pointer) {
        fprintf(stderr, "%s\n", what);
        exit(2);
    }
    return pointer;
}

static void get(FILE *file, void *into, size_t bytes) {
    if (bytes && fread(into, 1, bytes, file) != bytes)
        must(0, "the file of cases ends too early");
}

/* Runs the cases of a file; adds their number, and the number of those that differ. */
static void run(Kernel kernel, FILE *file, int *cases, int *wrong) {
    void *python[32] = {0};
    python[1] = (void *)release;
    python[2] = (void *)take;
    for (int64_t head[4]; fread(head, sizeof *head, 4, file) == 4; ++*cases) { /* kind, parameters, clips, refused */
        int64_t table[(COLUMNS + 1) * MOST] = {0}, bytes[COLUMNS * MOST];
        double options[8], clips[MOST];
        int64_t n = head[1];
        get(file, options, sizeof options);
        get(file, clips, (size_t)(head[2] ? n : 0) * sizeof *clips);
        get(file, table, (size_t)n * sizeof *table);
        get(file, bytes, (size_t)n * COLUMNS * sizeof *bytes);
        for (int64_t i = 0; i < n * COLUMNS; i++) {
            char *buffer = bytes[i] ? must(malloc((size_t)bytes[i]), "no memory") : 0;
            get(file, buffer, (size_t)bytes[i]);
            table[n + i] = (intptr_t)buffer;
        }
        int refused = kernel((int)head[0], n, table, options, head[2] ? clips : 0, 1, 0, 0, python);
        int differs = refused != (int)head[3];
        for (int64_t i = 0; i < n * COLUMNS; i++) {
            char *buffer = (char *)(intptr_t)table[n + i];
            char *expected = bytes[i] ? must(malloc((size_t)bytes[i]), "no memory") : 0;
            get(file, expected, (size_t)bytes[i]);
            int width = i < 2 * n && head[0] == BFLOAT16 ? 2 : i < 5 * n && head[0] == 1 ? 8 : 4;
            for (int64_t at = 0; at < bytes[i]; at += width)
                differs |= !same(buffer + at, expected + at, width);
            free(buffer);
            free(expected);
        }
        *wrong += differs;
        if (differs)
            printf("case %d differs\n", *cases);
    }
}

int main(int count, char **arguments) {
    must(count == 3 ? arguments : 0, "usage: kernel_driver LIBRARY CASES");
    void *library = must(OPEN(arguments[1]), "the library cannot be loaded");
    Kernel kernel = (Kernel)must(FIND(library, "shim_adopt_7"), "the library has no shim_adopt_7");
    Use use = (Use)must(FIND(library, "shim_adopt_use_3"), "the library has no shim_adopt_use_3");
    int cases = 0, wrong = 0, sets = use(INT_MAX) + 1;
    for (int set = 0; set < sets; set++) {
        FILE *file = must(fopen(arguments[2], "rb"), "the file of cases cannot be read");
        use(set);
        run(kernel, file, &cases, &wrong);
        fclose(file);
    }
    printf("%d cases in %d instruction sets, %d differ\n", cases / sets, sets, wrong);
    return wrong || !cases;
}
