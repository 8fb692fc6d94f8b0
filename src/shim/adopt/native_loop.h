/* A step of the elements [begin, end) of a parameter. native.c includes this file once for each kind of parameter,
 * after it has defined STEP, PARAM and the others. Each comparison is false for NaN, so that NaN is kept. */

INLINE void STEP(const Row *row, const Options *o, int64_t begin, int64_t end) {
    PARAM *restrict p = row->param;
    const PARAM *restrict grads = row->grad;
    REAL *restrict m = row->exp_avg, *restrict v = row->exp_avg_sq;
    REAL *restrict c = row->compensation;
    (void)c;
    const int l2 = o->weight_decay != 0 && !o->decouple;
    const int decoupled = o->weight_decay != 0 && o->decouple;
    const REAL decay = (REAL)(l2 ? o->weight_decay : o->lr * o->weight_decay);
    const REAL factor = (REAL)o->grad_factor, lr = (REAL)o->lr, eps = (REAL)o->eps, clip = (REAL)row->clip;
    const REAL beta1 = (REAL)o->beta1, rest1 = (REAL)(1 - o->beta1);
    const REAL beta2 = (REAL)o->beta2, rest2 = (REAL)(1 - o->beta2);
    if (row->first) {
        for (int64_t i = begin; i < end; i++) {
            REAL g = factor * WIDE(grads[i]);
            g = l2 ? g + decay * READ(i) : g;
            v[i] = g * g;
            m[i] = 0;
        }
        return;
    }
    for (int64_t from = begin; from < end; from += BLOCK) {
        const int64_t to = from + BLOCK < end ? from + BLOCK : end;
        PREFETCH_BLOCK(p + from);
        PREFETCH_BLOCK(grads + from);
        PREFETCH_BLOCK(m + from);
        PREFETCH_BLOCK(v + from);
        for (int64_t i = from; i < to; i++) {
            REAL weight = READ(i);
            REAL g = factor * WIDE(grads[i]);
            g = l2 ? g + decay * weight : g;
            weight = decoupled ? weight - decay * weight : weight;
            REAL denom = SQRT(v[i]);
            denom = denom < eps ? eps : denom;
            REAL n = g / denom;
            n = n < -clip ? -clip : n;
            n = n > clip ? clip : n;
            m[i] = beta1 * m[i] + rest1 * n;
            weight = weight - lr * m[i];
            WRITE(i, weight);
            v[i] = beta2 * v[i] + rest2 * g * g;
        }
    }
}

#undef STEP
#undef PARAM
#undef REAL
#undef SQRT
#undef WIDE
#undef READ
#undef WRITE
