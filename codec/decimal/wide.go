package decimal

import (
	"fmt"
	"math/bits"
)

// pow10 holds the powers of ten that fit in 64 bits: 10^0 to 10^19.
var pow10 = func() (p [Digits + 1]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// uint128 is an unsigned number of 128 bits. Two aligned coefficients and their sum fit: 2 * 10^19 * 10^19 < 2^128.
type uint128 struct{ hi, lo uint64 }

func (a uint128) less(b uint128) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a uint128) add(b uint128) uint128 {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return uint128{hi, lo}
}

func (a uint128) sub(b uint128) uint128 {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, borrow)
	return uint128{hi, lo}
}

func (a uint128) divMod10() (q uint128, r uint64) {
	q.hi, r = bits.Div64(0, a.hi, 10)
	q.lo, r = bits.Div64(r, a.lo, 10)
	return q, r
}

// aligned returns d's coefficient at the given scale, which is not below d's own.
func (d Decimal) aligned(scale int) uint128 {
	hi, lo := bits.Mul64(d.d.Coef(), pow10[scale-d.d.Scale()])
	return uint128{hi, lo}
}

// addWide is Add where the sum at the larger scale has more than 19 digits: it drops zeros at the end as far as needed.
func (d Decimal) addWide(e Decimal) (Decimal, error) {
	scale := max(d.d.Scale(), e.d.Scale())
	a, b, neg := d.aligned(scale), e.aligned(scale), d.d.IsNeg()
	switch {
	case neg == e.d.IsNeg():
		a = a.add(b)
	case a.less(b):
		a, neg = b.sub(a), e.d.IsNeg()
	default:
		a = a.sub(b)
	}
	for a.hi > 0 || a.lo > maxCoef {
		q, r := a.divMod10()
		if r != 0 || scale == 0 {
			return Decimal{}, fmt.Errorf("%v + %v: %w", d, e, ErrRange)
		}
		a, scale = q, scale-1
	}
	return exactly(neg, a.lo, scale)
}
