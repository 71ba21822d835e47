/* lanes.h in NEON with dot products (Armv8.2 and later): four registers. */
#ifndef LANES_NEON_H
#define LANES_NEON_H

#define REGISTERS 8 /* of 16 lanes: 32 of four */

#include <arm_neon.h>

typedef struct { int32x4_t v[4]; } I16;
typedef struct { float32x4_t v[4]; } F16;
#define EACH_I(expression) ({ I16 out; for (int i = 0; i < 4; i++) out.v[i] = (expression); out; })
#define EACH_F(expression) ({ F16 out; for (int i = 0; i < 4; i++) out.v[i] = (expression); out; })
#define BYTES(x) vreinterpretq_u8_s32(x)
#define WORDS(x) vreinterpretq_s32_u8(x)

INLINE float float_of_half(uint16_t bits) {
    __fp16 half;
    __builtin_memcpy(&half, &bits, 2);
    return half;
}
INLINE uint16_t half_of_float(float value) {
    const __fp16 half = (__fp16)value;
    uint16_t bits;
    __builtin_memcpy(&bits, &half, 2);
    return bits;
}
INLINE void prefetch(const void *at) { __builtin_prefetch(at); }
INLINE void relax(void) { __asm__ volatile("yield"); }

INLINE I16 i_zero(void) { return EACH_I(vdupq_n_s32(0)); }
INLINE F16 f_zero(void) { return EACH_F(vdupq_n_f32(0)); }
INLINE F16 f_set(float x) { return EACH_F(vdupq_n_f32(x)); }
INLINE F16 f_load(const float *p) { return EACH_F(vld1q_f32(p + 4 * i)); }
INLINE F16 f_hold(const float *p) { return f_load(p); }
INLINE void f_store(float *p, F16 x) {
    for (int i = 0; i < 4; i++)
        vst1q_f32(p + 4 * i, x.v[i]);
}
INLINE F16 f_add(F16 x, F16 y) { return EACH_F(vaddq_f32(x.v[i], y.v[i])); }
INLINE F16 f_mul(F16 x, F16 y) { return EACH_F(vmulq_f32(x.v[i], y.v[i])); }
INLINE F16 f_fma(F16 x, F16 y, F16 z) { return EACH_F(vfmaq_f32(z.v[i], x.v[i], y.v[i])); }
INLINE F16 f_from_int(I16 x) { return EACH_F(vcvtq_f32_s32(x.v[i])); }
INLINE F16 f_load_half(const void *p) {
    return EACH_F(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)p + 4 * i))));
}
INLINE void f_store_half(void *p, F16 x) {
    for (int i = 0; i < 4; i++)
        vst1_u16((uint16_t *)p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}
INLINE F16 f_load_bf16(const void *p) {
    return EACH_F(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16((const uint16_t *)p + 4 * i), 16)));
}
INLINE void f_sums(const F16 xs[4], float *out) {
    float32x4_t quarters[4];
    for (int i = 0; i < 4; i++)
        quarters[i] = vaddq_f32(vaddq_f32(xs[i].v[0], xs[i].v[2]), vaddq_f32(xs[i].v[1], xs[i].v[3]));
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(quarters[0], quarters[1]), vpaddq_f32(quarters[2], quarters[3])));
}
INLINE I16 i_load(const void *p) { return EACH_I(WORDS(vld1q_u8((const uint8_t *)p + 16 * i))); }
INLINE I16 i_bits(I16 x, const int shift, const int count, const int to) {
    const uint8x16_t mask = vdupq_n_u8((uint8_t)(((1 << count) - 1) << to));
    return EACH_I(WORDS(vandq_u8(vshlq_u8(BYTES(x.v[i]), vdupq_n_s8((int8_t)(to - shift))), mask)));
}
INLINE I16 i_or(I16 x, I16 y) { return EACH_I(vorrq_s32(x.v[i], y.v[i])); }
INLINE I16 i_look_up(I16 x, const uint8_t *table) { return EACH_I(WORDS(vqtbl1q_u8(vld1q_u8(table), BYTES(x.v[i])))); }
INLINE I16 i_add(I16 x, I16 y) { return EACH_I(vaddq_s32(x.v[i], y.v[i])); }
INLINE I16 i_sub(I16 x, I16 y) { return EACH_I(vsubq_s32(x.v[i], y.v[i])); }
INLINE I16 i_set(int32_t x) { return EACH_I(vdupq_n_s32(x)); }
INLINE I16 i_times_256(I16 x) { return EACH_I(vshlq_n_s32(x.v[i], 8)); }
INLINE int32x4_t four_digits(const int8_t *p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8((uint32_t)word))));
}
INLINE I16 i_from_digits(const int8_t *high, const int8_t *low) {
    return EACH_I(vaddq_s32(vshlq_n_s32(four_digits(high + 4 * i), 8), four_digits(low + 4 * i)));
}
INLINE I16 i_dot(I16 sum, I16 w, int32_t x) {
    const int8x16_t shared = vreinterpretq_s8_s32(vdupq_n_s32(x));
    return EACH_I(vdotq_s32(sum.v[i], vreinterpretq_s8_s32(w.v[i]), shared));
}
INLINE I16 i_dot_any(I16 sum, I16 w, int32_t x) {
#ifdef __ARM_FEATURE_MATMUL_INT8
    const int8x16_t shared = vreinterpretq_s8_s32(vdupq_n_s32(x));
    return EACH_I(vusdotq_s32(sum.v[i], BYTES(w.v[i]), shared));
#else
    const I16 eighths = i_dot(i_zero(), i_bits(w, 7, 1, 0), x);
    return i_dot(EACH_I(vaddq_s32(sum.v[i], vshlq_n_s32(eighths.v[i], 7))), i_bits(w, 0, 7, 0), x);
#endif
}

INLINE void i_store(void *p, I16 x) {
    for (int i = 0; i < 4; i++)
        vst1q_s32((int32_t *)p + 4 * i, x.v[i]);
}

/* As in lanes.h. Dot products here are of signed bytes: the offset is taken off before. */
typedef struct { I16 high, low; } Wide;
#define CODE_OFFSET 0

INLINE Wide w_zero(void) { return (Wide){ i_zero(), i_zero() }; }
INLINE Wide w_dot(Wide sum, I16 w, int32_t first, int32_t second) {
    const I16 codes = EACH_I(WORDS(veorq_u8(BYTES(w.v[i]), vdupq_n_u8(128))));
    return (Wide){ i_dot(sum.high, codes, first), i_dot(sum.low, codes, second) };
}
INLINE I16 w_joined(Wide sum) { return i_add(i_times_256(sum.high), sum.low); }
INLINE void w_split(const int32_t *codes, int count, int32_t *first, int32_t *second) {
    for (int i = 0; i < count; i++)
        ((int8_t *)first)[i] = (int8_t)((codes[i] + 128) >> 8);
    for (int i = 0; i < count; i++)
        ((int8_t *)second)[i] = (int8_t)codes[i];
}

#endif
