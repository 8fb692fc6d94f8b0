/* What native.c reads of a tensor in the memory of torch's objects: whether it is plain, where its elements are, and its
 * dtype, sizes and strides. native.c includes this file once. */

/* What the library knows of Python and torch. native.py fills it; tensor_impl.py finds the offsets, and has the
 * links to torch's declarations. If something is not found, the tensors are not inspected in C. */
typedef struct {
    void *(*list_item)(void *, intptr_t);  /* PyList_GetItem */
    void *(*release_gil)(void);            /* PyEval_SaveThread */
    void (*take_gil)(void *);              /* PyEval_RestoreThread */
    int (*describe)(const void *, void *); /* torch's dltensor_from_py_object_no_sync of DLPack, which fills a Tensor */
    const void *plain[2];                  /* the classes whose memory is the value: Tensor and Parameter */
    uint64_t keys;                         /* the dispatch keys of an ordinary tensor on the CPU */
    int64_t class_at, impl_at;             /* in a Python object: ob_type, and the pointer to the TensorImpl */
    int64_t keys_at, storage_at;           /* in the TensorImpl: key_set_ and storage_ */
    int64_t data_at, bytes_at;             /* in the StorageImpl: the address in data_ptr_, and size_bytes_ */
    /* They describe a tensor without a call of torch; zero if they were not found. `describe` is null before 2.10. */
    int64_t sizes_at, offset_at, dtype_at; /* in the TensorImpl: sizes_and_strides_ (ndim, 5 sizes, 5 strides), ... */
    int64_t owned_at;                      /* in the StorageImpl: the context in data_ptr_, see owns_its_memory */
    int64_t checked_at;                    /* in the StorageImpl: has_mutable_data_ptr_check_, a byte */
    void (*bump)(const void *);            /* torch::autograd::impl::bump_version, or null: native.py counts instead */
    void (*clear_error)(void);             /* PyErr_Clear */
} Python;

#define FIELD(type, object, offset) (*(type const *)((const char *)(object) + (offset)))

static int has_plain_class(const void *object, const Python *python) {
    const void *class = FIELD(const void *, object, python->class_at);
    return class == python->plain[0] || class == python->plain[1];
}

/* Whether the memory of a tensor is its value, by its class and its dispatch keys. A gradient is only read, so it
 * may be an inference tensor, which has fewer keys. */
static int is_plain(const void *tensor, const Python *python, int written) {
    if (!has_plain_class(tensor, python))
        return 0;
    const void *impl = FIELD(const void *, tensor, python->impl_at);
    uint64_t keys = impl ? FIELD(uint64_t, impl, python->keys_at) : 0;
    return written ? keys == python->keys : keys != 0 && !(keys & ~python->keys);
}

/* Whether a storage alone owns its memory: the context is the address again. torch copies the memory of a lazy clone
 * before it writes to it: https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/impl/COW.h */
static int owns_its_memory(const void *storage, const Python *python) {
    return FIELD(const void *, storage, python->owned_at) == FIELD(const void *, storage, python->data_at);
}

/* Whether the storage of a tensor contains these bytes, and lets them be written. A storage may be smaller than the sizes
 * require, and torch may be told to raise an error before it writes to one. */
static int holds(const void *tensor, const Python *python, int64_t address, int64_t bytes) {
    const void *storage = FIELD(const void *, FIELD(const void *, tensor, python->impl_at), python->storage_at);
    if (storage && python->checked_at && FIELD(char, storage, python->checked_at))
        return 0;
    if (!storage || bytes == 0)
        return bytes == 0;
    int64_t data = FIELD(int64_t, storage, python->data_at);
    if (!python->describe && !owns_its_memory(storage, python))
        return 0;
    return data && address >= data && bytes <= FIELD(int64_t, storage, python->bytes_at) - (address - data);
}

/* DLTensor of DLPack 1: https://github.com/dmlc/dlpack/blob/v1.1/include/dlpack/dlpack.h */
typedef struct {
    char *data;
    int32_t device_type, device_id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} Tensor;

/* Whether DLPack refuses to describe a tensor, as one that is sparse or on another device. Its error is not raised. */
static int refuses(const void *tensor, const Python *python, Tensor *t) {
    if (python->describe(tensor, t) == 0)
        return 0;
    python->clear_error();
    return 1;
}

/* Fills `t` from a tensor that is_plain, as DLPack does. Returns 0; another number if that is not possible. The numbers
 * of the dtypes: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/headeronly/core/ScalarType.h#L110 */
static int describe(const void *tensor, const Python *python, Tensor *t) {
    static const struct { uint16_t number; uint8_t code, bits; } DTYPES[] = {{6, 2, 32}, {7, 2, 64}, {15, 4, 16}};
    char *impl = FIELD(char *, tensor, python->impl_at);
    const void *storage = FIELD(const void *, impl, python->storage_at);
    int64_t *sizes = (int64_t *)(impl + python->sizes_at);
    size_t k = 0;
    while (k < 3 && python->sizes_at && DTYPES[k].number != FIELD(uint16_t, impl, python->dtype_at))
        k++;
    if (!python->sizes_at || k == 3 || sizes[0] > 5 || !storage || !owns_its_memory(storage, python))
        return !python->describe || refuses(tensor, python, t);
    char *data = FIELD(char *, storage, python->data_at);
    uint64_t offset = data ? (uint64_t)FIELD(int64_t, impl, python->offset_at) * (DTYPES[k].bits / 8) : 0;
    *t = (Tensor){data, 1, 0, (int32_t)sizes[0], DTYPES[k].code, DTYPES[k].bits, 1, sizes + 1, sizes + 6, offset};
    return 0;
}

static int has_dtype(const Tensor *t, int code, int64_t bytes) {
    return t->code == code && t->bits == 8 * bytes && t->lanes == 1;
}

static int64_t size_of(const Tensor *t) {
    uint64_t size = 1; /* unsigned, because an expanded tensor may overflow it */
    for (int d = 0; d < t->ndim; d++)
        size *= (uint64_t)t->shape[d];
    return size < (uint64_t)1 << 56 ? (int64_t)size : -1;
}

/* Whether the elements have no gaps or overlaps, in any order of the dimensions. */
static int is_dense(const Tensor *t, int64_t size) {
    int64_t expected = 1;
    for (int found = 1; found && expected < size;) {
        found = 0;
        for (int d = 0; d < t->ndim; d++)
            if (t->shape[d] != 1 && t->strides[d] == expected) {
                expected = (int64_t)((uint64_t)expected * (uint64_t)t->shape[d]);
                found = 1;
            }
    }
    return size == 0 || expected == size;
}

static int same_layout(const Tensor *a, const Tensor *b) {
    if (a->ndim != b->ndim)
        return 0;
    for (int d = 0; d < a->ndim; d++)
        if (a->shape[d] != b->shape[d] || (a->shape[d] != 1 && a->strides[d] != b->strides[d]))
            return 0;
    return 1;
}

/* Prefetches the objects of a tensor before they are read, because since the last step other tensors have taken their
 * place in the cache: first the four cache lines of the TensorImpl, and later (`behind`) what its words 2 to 5 point to,
 * such as the storage and the version counter. Without it, a step of 3000 tensors of 64 elements took 1.3 times as long
 * (one thread, torch 2.13). Prefetching an invalid address does nothing. Always inlined, because GCC drops calls of
 * functions that only prefetch. The words:
 * https://github.com/pytorch/pytorch/blob/v2.13.0/c10/core/TensorImpl.h#L2875 */
INLINE void prefetch_tensor(const char *tensor, const Python *python, int behind) {
    if (!tensor || !has_plain_class(tensor, python))
        return;
    char *const *impl = FIELD(char *const *, tensor, python->impl_at);
    for (int word = 2; impl && word < 6; word++) {
        const char *at = behind ? impl[word] : (const char *)impl + 64 * (word - 2);
        PREFETCH(at);
        if (behind)
            PREFETCH(at + 64);
    }
}
