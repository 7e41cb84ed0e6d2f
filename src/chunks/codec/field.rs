//! GF(2^8) as `reed-solomon-erasure` has it (polynomial 0x11d), with slices multiplied by a [`Kernel`].

use std::marker::PhantomData;

use reed_solomon_erasure::galois_8;

use super::kernels::Kernel;

/// Single elements, by the crate's own tables.
pub(super) struct GaloisField;

impl GaloisField {
    /// `a × b`.
    pub(super) fn multiply(a: u8, b: u8) -> u8 {
        galois_8::mul(a, b)
    }

    /// `a / b`; the crate panics if `b` is zero, so the caller has looked.
    pub(super) fn divide(a: u8, b: u8) -> u8 {
        galois_8::div(a, b)
    }
}

/// The crate's field for bytes, but for the two operations on slices, in which all the time is spent.
#[derive(Debug)]
pub struct Field<K: Kernel>(PhantomData<K>);

impl<K: Kernel> reed_solomon_erasure::Field for Field<K> {
    const ORDER: usize = 256;
    type Elem = u8;

    fn add(a: u8, b: u8) -> u8 {
        galois_8::add(a, b)
    }

    fn mul(a: u8, b: u8) -> u8 {
        galois_8::mul(a, b)
    }

    fn div(a: u8, b: u8) -> u8 {
        galois_8::div(a, b)
    }

    fn exp(elem: u8, n: usize) -> u8 {
        galois_8::exp(elem, n)
    }

    fn zero() -> u8 {
        0
    }

    fn one() -> u8 {
        1
    }

    fn nth_internal(n: usize) -> u8 {
        n as u8
    }

    fn mul_slice(elem: u8, input: &[u8], out: &mut [u8]) {
        K::mul(elem, input, out);
    }

    fn mul_slice_add(elem: u8, input: &[u8], out: &mut [u8]) {
        K::mul_add(elem, input, out);
    }
}
