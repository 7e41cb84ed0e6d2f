//! Multiplying a slice by one element of GF(2^8), with what the processor has. The codec's only unsafe code.
//!
//! A product with a constant is linear over the bits, so `c × b` is `c × (b & 15)` plus `c × (b & 240)`: two tables of sixteen
//! bytes, which a byte shuffle looks up sixteen or thirty-two at a time.

use std::fmt;

/// The field's polynomial, x^8 + x^4 + x^3 + x^2 + 1, that of `reed-solomon-erasure`.
const POLYNOMIAL: u8 = 0x1d;

/// For each coefficient its products with 0 to 15, then with 0, 16, ... 240.
static PRODUCTS: [[u8; 32]; 256] = products();

const fn product(mut a: u8, mut b: u8) -> u8 {
    let mut sum = 0;
    while b != 0 {
        if b & 1 != 0 {
            sum ^= a;
        }
        a = (a << 1) ^ if a & 0x80 != 0 { POLYNOMIAL } else { 0 };
        b >>= 1;
    }
    sum
}

const fn products() -> [[u8; 32]; 256] {
    let mut table = [[0; 32]; 256];
    let mut c = 0;
    while c < 256 {
        let mut nibble = 0;
        while nibble < 16 {
            table[c][nibble] = product(c as u8, nibble as u8);
            table[c][nibble + 16] = product(c as u8, (nibble as u8) << 4);
            nibble += 1;
        }
        c += 1;
    }
    table
}

/// A way to multiply slices. `input` and `out` have equal lengths; what is longer in one is left alone.
pub trait Kernel: fmt::Debug + Send + Sync + 'static {
    /// What it is called.
    fn name() -> &'static str;
    /// Whether this processor can run it. If not, the others of its functions run [`Scalar`].
    fn available() -> bool;
    /// `out = c × input`.
    fn mul(c: u8, input: &[u8], out: &mut [u8]);
    /// `out += c × input`.
    fn mul_add(c: u8, input: &[u8], out: &mut [u8]);
}

/// Plain Rust, a byte at a time; also the end of what the others do.
#[derive(Debug)]
pub struct Scalar;

fn scalar<const ADD: bool>(c: u8, input: &[u8], out: &mut [u8]) {
    let table = &PRODUCTS[usize::from(c)];
    for (&byte, out) in input.iter().zip(out) {
        let product = table[usize::from(byte & 15)] ^ table[usize::from(byte >> 4) + 16];
        *out = if ADD { *out ^ product } else { product };
    }
}

impl Kernel for Scalar {
    fn name() -> &'static str {
        "scalar"
    }
    fn available() -> bool {
        true
    }
    fn mul(c: u8, input: &[u8], out: &mut [u8]) {
        scalar::<false>(c, input, out);
    }
    fn mul_add(c: u8, input: &[u8], out: &mut [u8]) {
        scalar::<true>(c, input, out);
    }
}

/// The fastest of the kernels that this processor has.
#[derive(Debug)]
pub struct Best;

#[cfg(target_arch = "x86_64")]
macro_rules! best {
    ($function:ident($($argument:expr),*)) => {
        if Avx2::available() {
            Avx2::$function($($argument),*)
        } else if Ssse3::available() {
            Ssse3::$function($($argument),*)
        } else {
            Scalar::$function($($argument),*)
        }
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! best {
    ($function:ident($($argument:expr),*)) => {
        if Neon::available() { Neon::$function($($argument),*) } else { Scalar::$function($($argument),*) }
    };
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
macro_rules! best {
    ($function:ident($($argument:expr),*)) => {
        Scalar::$function($($argument),*)
    };
}

impl Kernel for Best {
    fn name() -> &'static str {
        best!(name())
    }
    fn available() -> bool {
        true
    }
    fn mul(c: u8, input: &[u8], out: &mut [u8]) {
        best!(mul(c, input, out));
    }
    fn mul_add(c: u8, input: &[u8], out: &mut [u8]) {
        best!(mul_add(c, input, out));
    }
}

/// Implements [`Kernel`] for a type by a function that needs a processor feature.
macro_rules! vector_kernel {
    ($kernel:ident, $name:literal, $detected:expr, $module:ident::$run:ident) => {
        impl Kernel for $kernel {
            fn name() -> &'static str {
                $name
            }
            fn available() -> bool {
                $detected
            }
            fn mul(c: u8, input: &[u8], out: &mut [u8]) {
                if Self::available() {
                    // SAFETY: the processor has the feature that the function needs, its only condition.
                    unsafe { $module::$run::<false>(c, input, out) }
                } else {
                    Scalar::mul(c, input, out);
                }
            }
            fn mul_add(c: u8, input: &[u8], out: &mut [u8]) {
                if Self::available() {
                    // SAFETY: as above.
                    unsafe { $module::$run::<true>(c, input, out) }
                } else {
                    Scalar::mul_add(c, input, out);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{PRODUCTS, scalar};

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2<const ADD: bool>(c: u8, input: &[u8], out: &mut [u8]) {
        let table = &PRODUCTS[usize::from(c)];
        // SAFETY: `table` is 32 bytes long, and unaligned loads take any address.
        let (low, high) = unsafe {
            let table = table.as_ptr().cast::<__m128i>();
            (_mm_loadu_si128(table), _mm_loadu_si128(table.add(1)))
        };
        let (low, high) = (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high));
        let nibble = _mm256_set1_epi8(15);
        let (inputs, input_rest) = input.as_chunks::<32>();
        let (outs, out_rest) = out.as_chunks_mut::<32>();
        for (input, out) in inputs.iter().zip(outs) {
            let out: *mut __m256i = out.as_mut_ptr().cast();
            // SAFETY: `input` is 32 bytes long; unaligned loads take any address.
            let bytes = unsafe { _mm256_loadu_si256(input.as_ptr().cast()) };
            let low = _mm256_shuffle_epi8(low, _mm256_and_si256(bytes, nibble));
            let high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), nibble));
            let mut product = _mm256_xor_si256(low, high);
            if ADD {
                // SAFETY: `out` points at 32 bytes that are exclusively ours.
                product = _mm256_xor_si256(product, unsafe { _mm256_loadu_si256(out) });
            }
            // SAFETY: as above; unaligned stores take any address.
            unsafe { _mm256_storeu_si256(out, product) };
        }
        scalar::<ADD>(c, input_rest, out_rest);
    }

    #[target_feature(enable = "ssse3")]
    pub(super) fn ssse3<const ADD: bool>(c: u8, input: &[u8], out: &mut [u8]) {
        let table = &PRODUCTS[usize::from(c)];
        // SAFETY: `table` is 32 bytes long, and unaligned loads take any address.
        let (low, high) = unsafe {
            let table = table.as_ptr().cast::<__m128i>();
            (_mm_loadu_si128(table), _mm_loadu_si128(table.add(1)))
        };
        let nibble = _mm_set1_epi8(15);
        let (inputs, input_rest) = input.as_chunks::<16>();
        let (outs, out_rest) = out.as_chunks_mut::<16>();
        for (input, out) in inputs.iter().zip(outs) {
            let out: *mut __m128i = out.as_mut_ptr().cast();
            // SAFETY: `input` is 16 bytes long; unaligned loads take any address.
            let bytes = unsafe { _mm_loadu_si128(input.as_ptr().cast()) };
            let low = _mm_shuffle_epi8(low, _mm_and_si128(bytes, nibble));
            let high = _mm_shuffle_epi8(high, _mm_and_si128(_mm_srli_epi64::<4>(bytes), nibble));
            let mut product = _mm_xor_si128(low, high);
            if ADD {
                // SAFETY: `out` points at 16 bytes that are exclusively ours.
                product = _mm_xor_si128(product, unsafe { _mm_loadu_si128(out) });
            }
            // SAFETY: as above; unaligned stores take any address.
            unsafe { _mm_storeu_si128(out, product) };
        }
        scalar::<ADD>(c, input_rest, out_rest);
    }
}

/// 32 bytes at a time on x86-64.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Avx2;
#[cfg(target_arch = "x86_64")]
vector_kernel!(Avx2, "avx2", std::arch::is_x86_feature_detected!("avx2"), x86::avx2);

/// 16 bytes at a time on x86-64.
#[cfg(target_arch = "x86_64")]
#[derive(Debug)]
pub struct Ssse3;
#[cfg(target_arch = "x86_64")]
vector_kernel!(Ssse3, "ssse3", std::arch::is_x86_feature_detected!("ssse3"), x86::ssse3);

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    use super::{PRODUCTS, scalar};

    #[target_feature(enable = "neon")]
    pub(super) fn neon<const ADD: bool>(c: u8, input: &[u8], out: &mut [u8]) {
        let table = &PRODUCTS[usize::from(c)];
        // SAFETY: `table` is 32 bytes long, and these loads take any address.
        let (low, high) = unsafe { (vld1q_u8(table.as_ptr()), vld1q_u8(table.as_ptr().add(16))) };
        let nibble = vdupq_n_u8(15);
        let (inputs, input_rest) = input.as_chunks::<16>();
        let (outs, out_rest) = out.as_chunks_mut::<16>();
        for (input, out) in inputs.iter().zip(outs) {
            // SAFETY: `input` is 16 bytes long.
            let bytes = unsafe { vld1q_u8(input.as_ptr()) };
            let low = vqtbl1q_u8(low, vandq_u8(bytes, nibble));
            let high = vqtbl1q_u8(high, vshrq_n_u8::<4>(bytes));
            let mut product = veorq_u8(low, high);
            if ADD {
                // SAFETY: `out` is 16 bytes long.
                product = veorq_u8(product, unsafe { vld1q_u8(out.as_ptr()) });
            }
            // SAFETY: `out` is 16 bytes long and exclusively ours.
            unsafe { vst1q_u8(out.as_mut_ptr(), product) };
        }
        scalar::<ADD>(c, input_rest, out_rest);
    }
}

/// 16 bytes at a time on aarch64.
#[cfg(target_arch = "aarch64")]
#[derive(Debug)]
pub struct Neon;
#[cfg(target_arch = "aarch64")]
vector_kernel!(Neon, "neon", std::arch::is_aarch64_feature_detected!("neon"), arm::neon);

#[cfg(test)]
mod tests {
    use super::*;
    use reed_solomon_erasure::{Field as _, galois_8};

    /// Slices that start at every alignment and end in every remainder, for all coefficients, against the crate's field.
    fn agrees_with_the_crate<K: Kernel>() {
        assert!(K::available(), "{} cannot run here", K::name());
        let input: Vec<u8> = (0..256u32).map(|i| (i.wrapping_mul(167) ^ (i >> 3)) as u8).collect();
        let before: Vec<u8> = (0..256u32).map(|i| i.wrapping_mul(91) as u8).collect();
        for c in 0..=255 {
            for len in 0..200 {
                let (from, to) = (len % 37, (len * 5) % 33);
                let input = &input[from..from + len];
                let mut ours = before.clone();
                let mut theirs = before.clone();
                K::mul(c, input, &mut ours[to..to + len]);
                galois_8::Field::mul_slice(c, input, &mut theirs[to..to + len]);
                assert_eq!(ours, theirs, "{}: {c} × {len} bytes", K::name());
                K::mul_add(c, input, &mut ours[to..to + len]);
                galois_8::Field::mul_slice_add(c, input, &mut theirs[to..to + len]);
                assert_eq!(ours, theirs, "{}: {c} × {len} bytes, added", K::name());
            }
        }
        // Every product there is.
        let all: Vec<u8> = (0..=255).collect();
        for c in 0..=255 {
            let mut products = vec![0; 256];
            K::mul(c, &all, &mut products);
            let expected: Vec<u8> = all.iter().map(|&b| galois_8::mul(c, b)).collect();
            assert_eq!(products, expected, "{}: {c}", K::name());
        }
    }

    #[test]
    fn the_scalar_kernel_agrees_with_the_crate() {
        agrees_with_the_crate::<Scalar>();
    }

    #[test]
    fn the_chosen_kernel_agrees_with_the_crate() {
        agrees_with_the_crate::<Best>();
    }

    // A processor without the feature cannot run its kernel; what it would run instead is tested above.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_x86_kernels_of_this_processor_agree_with_the_crate() {
        if Ssse3::available() {
            agrees_with_the_crate::<Ssse3>();
        }
        if Avx2::available() {
            agrees_with_the_crate::<Avx2>();
            assert_eq!(Best::name(), "avx2");
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[test]
    fn the_neon_kernel_agrees_with_the_crate() {
        agrees_with_the_crate::<Neon>();
    }
}
