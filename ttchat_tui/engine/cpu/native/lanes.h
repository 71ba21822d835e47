/* Sixteen lanes of int32 or float: one AVX-512 register, two AVX2 registers, or four NEON registers. A lane is a row of a weight
 * matrix or a dimension of a head, and gives the same product on all instruction sets. */
#ifndef LANES_H
#define LANES_H

#include <stdint.h>

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

#ifdef __ARM_FEATURE_DOTPROD
#include "lanes_neon.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

INLINE float float_of_half(uint16_t bits) { return _cvtsh_ss(bits); }
INLINE uint16_t half_of_float(float value) { return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }
INLINE void prefetch(const void *at) { _mm_prefetch((const char *)at, _MM_HINT_T0); }
INLINE void relax(void) { _mm_pause(); }

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VNNI__)
#define REGISTERS 32 /* of 16 lanes */

typedef __m512i I16;
typedef __m512 F16;

INLINE I16 i_zero(void) { return _mm512_setzero_si512(); }
INLINE F16 f_zero(void) { return _mm512_setzero_ps(); }
INLINE F16 f_set(float x) { return _mm512_set1_ps(x); }
INLINE F16 f_load(const float *p) { return _mm512_loadu_ps(p); }
/* As f_load, into a register: else compilers load anew for each product. */
INLINE F16 f_hold(const float *p) {
    F16 x = _mm512_loadu_ps(p);
    __asm__("" : "+v"(x));
    return x;
}
INLINE void f_store(float *p, F16 x) { _mm512_storeu_ps(p, x); }
INLINE F16 f_add(F16 a, F16 b) { return _mm512_add_ps(a, b); }
INLINE F16 f_mul(F16 a, F16 b) { return _mm512_mul_ps(a, b); }
INLINE F16 f_fma(F16 a, F16 b, F16 c) { return _mm512_fmadd_ps(a, b, c); }
INLINE F16 f_from_int(I16 x) { return _mm512_cvtepi32_ps(x); }
INLINE F16 f_load_half(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
INLINE void f_store_half(void *p, F16 x) { _mm256_storeu_si256(p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT)); }
/* out[i] = the sum over the lanes of xs[i]. */
INLINE void f_sums(const F16 xs[4], float *out) {
    F16 ab = _mm512_add_ps(_mm512_unpacklo_ps(xs[0], xs[1]), _mm512_unpackhi_ps(xs[0], xs[1]));
    F16 cd = _mm512_add_ps(_mm512_unpacklo_ps(xs[2], xs[3]), _mm512_unpackhi_ps(xs[2], xs[3]));
    F16 abcd = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}
INLINE I16 i_load(const void *p) { return _mm512_loadu_si512(p); }
/* Each byte's bits from `shift` on, moved to bit `to`; `count` of them. All are compile-time constants. */
INLINE I16 i_bits(I16 x, const int shift, const int count, const int to) {
    const __m512i mask = _mm512_set1_epi8((char)(((1 << count) - 1) << to));
    typedef uint16_t Words __attribute__((vector_size(64)));
    const __m512i moved = shift >= to ? (__m512i)((Words)x >> (shift - to)) : (__m512i)((Words)x << (to - shift));
    return _mm512_and_si512(moved, mask);
}
INLINE I16 i_or(I16 a, I16 b) { return _mm512_or_si512(a, b); }
/* table[x] for each byte of at most 15. */
INLINE I16 i_look_up(I16 x, const uint8_t *table) {
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table)), x);
}
INLINE F16 f_load_bf16(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
/* 256 * high + low, of 16 signed bytes each. */
INLINE I16 i_from_digits(const int8_t *high, const int8_t *low) {
    const __m512i coarse = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)high));
    return _mm512_add_epi32(_mm512_slli_epi32(coarse, 8), _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)low)));
}
INLINE I16 i_add(I16 a, I16 b) { return _mm512_add_epi32(a, b); }
INLINE I16 i_sub(I16 a, I16 b) { return _mm512_sub_epi32(a, b); }
INLINE I16 i_set(int32_t x) { return _mm512_set1_epi32(x); }
INLINE I16 i_times_256(I16 x) { return _mm512_slli_epi32(x, 8); }
/* sum[lane] + the dot product of the 4 unsigned bytes w[lane], at most 127, and the 4 signed bytes x, which all lanes share. */
INLINE I16 i_dot(I16 sum, I16 w, int32_t x) { return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x)); }
INLINE I16 i_dot_any(I16 sum, I16 w, int32_t x) { return i_dot(sum, w, x); }
INLINE void i_store(void *p, I16 x) { _mm512_storeu_si512(p, x); }

/* Sums of products of unsigned bytes w and 16-bit codes: 256 * high + low. */
typedef struct { I16 high, low; } Wide;
#define CODE_OFFSET 128 /* of bytes: sums are too large by that much for each unit of the other codes */

INLINE Wide w_zero(void) { return (Wide){ i_zero(), i_zero() }; }
/* Each lane: the sum, and the products of 4 bytes and the 4 codes that `w_split` puts into `first` and `second`. */
INLINE Wide w_dot(Wide sum, I16 w, int32_t first, int32_t second) {
    /* In assembler, because compilers copy each sum before they add to it, and then have too few registers. */
    __asm__("vpdpbusd %1, %2, %0" : "+v"(sum.high) : "v"(_mm512_set1_epi32(first)), "v"(w));
    __asm__("vpdpbusd %1, %2, %0" : "+v"(sum.low) : "v"(_mm512_set1_epi32(second)), "v"(w));
    return sum;
}
INLINE I16 w_joined(Wide sum) { return i_add(i_times_256(sum.high), sum.low); }
INLINE void w_split(const int32_t *codes, int count, int32_t *first, int32_t *second) {
    for (int i = 0; i < count; i++)
        ((int8_t *)first)[i] = (int8_t)((codes[i] + 128) >> 8);
    for (int i = 0; i < count; i++)
        ((int8_t *)second)[i] = (int8_t)codes[i];
}

#else
#define REGISTERS 8 /* of 16 lanes: sixteen of eight */

typedef struct { __m256i a, b; } I16;
typedef struct { __m256 a, b; } F16;
#define BOTH_I(call_a, call_b) ((I16){ call_a, call_b })
#define BOTH_F(call_a, call_b) ((F16){ call_a, call_b })

INLINE I16 i_zero(void) { return BOTH_I(_mm256_setzero_si256(), _mm256_setzero_si256()); }
INLINE F16 f_zero(void) { return BOTH_F(_mm256_setzero_ps(), _mm256_setzero_ps()); }
INLINE F16 f_set(float x) { return BOTH_F(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
INLINE F16 f_load(const float *p) { return BOTH_F(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
INLINE F16 f_hold(const float *p) { return f_load(p); }
INLINE void f_store(float *p, F16 x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
INLINE F16 f_add(F16 x, F16 y) { return BOTH_F(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
INLINE F16 f_mul(F16 x, F16 y) { return BOTH_F(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
INLINE F16 f_fma(F16 x, F16 y, F16 z) { return BOTH_F(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)); }
INLINE F16 f_from_int(I16 x) { return BOTH_F(_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)); }
INLINE F16 f_load_half(const void *p) {
    const __m128i *halves = p;
    return BOTH_F(_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1)));
}
INLINE void f_store_half(void *p, F16 x) {
    __m128i *halves = p;
    _mm_storeu_si128(halves, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
INLINE void f_sums(const F16 xs[4], float *out) {
    __m256 a = _mm256_add_ps(xs[0].a, xs[0].b), b = _mm256_add_ps(xs[1].a, xs[1].b);
    __m256 c = _mm256_add_ps(xs[2].a, xs[2].b), d = _mm256_add_ps(xs[3].a, xs[3].b);
    __m256 abcd = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
}
INLINE I16 i_load(const void *p) {
    const __m256i *halves = p;
    return BOTH_I(_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1));
}
INLINE __m256i nibbles(__m256i x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
INLINE __m256i bits_of(__m256i x, const int shift, const int count, const int to) {
    const __m256i mask = _mm256_set1_epi8((char)(((1 << count) - 1) << to));
    typedef uint16_t Words __attribute__((vector_size(32)));
    const __m256i moved = shift >= to ? (__m256i)((Words)x >> (shift - to)) : (__m256i)((Words)x << (to - shift));
    return _mm256_and_si256(moved, mask);
}
INLINE I16 i_bits(I16 x, const int shift, const int count, const int to) {
    return BOTH_I(bits_of(x.a, shift, count, to), bits_of(x.b, shift, count, to));
}
INLINE I16 i_or(I16 x, I16 y) { return BOTH_I(_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)); }
INLINE I16 i_look_up(I16 x, const uint8_t *table) {
    const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    return BOTH_I(_mm256_shuffle_epi8(both, x.a), _mm256_shuffle_epi8(both, x.b));
}
INLINE __m256 bf16_half(const __m128i *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
INLINE F16 f_load_bf16(const void *p) { return BOTH_F(bf16_half(p), bf16_half((const __m128i *)p + 1)); }
INLINE __m256i digits_half(const int8_t *high, const int8_t *low) {
    const __m256i coarse = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)high));
    return _mm256_add_epi32(_mm256_slli_epi32(coarse, 8), _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)low)));
}
INLINE I16 i_from_digits(const int8_t *high, const int8_t *low) {
    return BOTH_I(digits_half(high, low), digits_half(high + 8, low + 8));
}
INLINE I16 i_add(I16 x, I16 y) { return BOTH_I(_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)); }
INLINE I16 i_sub(I16 x, I16 y) { return BOTH_I(_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)); }
INLINE I16 i_set(int32_t x) { return BOTH_I(_mm256_set1_epi32(x), _mm256_set1_epi32(x)); }
INLINE I16 i_times_256(I16 x) { return BOTH_I(_mm256_slli_epi32(x.a, 8), _mm256_slli_epi32(x.b, 8)); }
#ifdef __AVXVNNI__
INLINE __m256i dot8(__m256i sum, __m256i w, __m256i x) { return _mm256_dpbusd_avx_epi32(sum, w, x); }
INLINE __m256i dot8_any(__m256i sum, __m256i w, __m256i x) { return dot8(sum, w, x); }
#else
#define SPLITS_BYTES /* a byte over 127 is multiplied in two parts */
/* sum + factor * dot product. Pairs are summed in 16 bits, which do not overflow if w is at most 127. */
INLINE __m256i dot8_times(__m256i sum, __m256i w, __m256i x, const short factor) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(factor)));
}
INLINE __m256i dot8(__m256i sum, __m256i w, __m256i x) { return dot8_times(sum, w, x, 1); }
INLINE __m256i dot8_any(__m256i sum, __m256i w, __m256i x) {
    return dot8_times(dot8_times(sum, nibbles(w), x, 1), nibbles(_mm256_srli_epi16(w, 4)), x, 16);
}
#endif
/* As above, for w of at most 127. */
INLINE I16 i_dot(I16 sum, I16 w, int32_t x) {
    __m256i broadcast = _mm256_set1_epi32(x);
    return BOTH_I(dot8(sum.a, w.a, broadcast), dot8(sum.b, w.b, broadcast));
}
/* For w of any size. */
INLINE I16 i_dot_any(I16 sum, I16 w, int32_t x) {
    __m256i broadcast = _mm256_set1_epi32(x);
    return BOTH_I(dot8_any(sum.a, w.a, broadcast), dot8_any(sum.b, w.b, broadcast));
}
INLINE void i_store(void *p, I16 x) {
    __m256i *halves = p;
    _mm256_storeu_si256(halves, x.a), _mm256_storeu_si256(halves + 1, x.b);
}

/* Sums of products of unsigned bytes w and 16-bit codes. */
typedef I16 Wide;
#define CODE_OFFSET 128

INLINE Wide w_zero(void) { return i_zero(); }
INLINE __m256i dot_pairs(__m256i sum, __m256i w, __m256i x) {
#ifdef __AVXVNNI__
    return _mm256_dpwssd_avx_epi32(sum, w, x);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
#endif
}
INLINE __m256i dot_quads(__m256i sum, __m256i w, int32_t first, int32_t second) {
    sum = dot_pairs(sum, _mm256_and_si256(w, _mm256_set1_epi16(255)), _mm256_set1_epi32(first));
    return dot_pairs(sum, _mm256_srli_epi16(w, 8), _mm256_set1_epi32(second));
}
INLINE Wide w_dot(Wide sum, I16 w, int32_t first, int32_t second) {
    return BOTH_I(dot_quads(sum.a, w.a, first, second), dot_quads(sum.b, w.b, first, second));
}
INLINE I16 w_joined(Wide sum) { return sum; }
/* The even codes of each four, and the odd ones. */
INLINE void w_split(const int32_t *codes, int count, int32_t *first, int32_t *second) {
    for (int i = 0; i < count; i += 4) {
        first[i / 4] = (int32_t)((uint32_t)codes[i + 2] << 16 | (uint16_t)codes[i]);
        second[i / 4] = (int32_t)((uint32_t)codes[i + 3] << 16 | (uint16_t)codes[i + 1]);
    }
}

#endif
#else
#error "needs AVX2 with FMA and F16C, or NEON with dot products"
#endif

#endif
