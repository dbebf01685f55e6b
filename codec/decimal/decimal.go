// Package decimal is exact decimal numbers for money: what cannot be held exactly is an error, nothing is ever rounded.
//
// The range: a number is held when its exact value can be written with at most 19 digits, leading zeros not counted, at
// most 19 of them after the point. The largest is 9999999999999999999, the smallest step 0.0000000000000000001; with
// two digits after the point the largest is 99999999999999999.99.
//
// A number keeps its scale, the count of digits after the point: 0.10 stays 0.10, and 0.1 + 0.20 is 0.30. Only zeros at
// the end that do not fit in 19 digits are dropped.
package decimal

import (
	"errors"
	"fmt"
	"math"

	"github.com/govalues/decimal"
)

// Digits is the most digits a number can have, in all and after the point.
const Digits = decimal.MaxPrec

const maxCoef = 9_999_999_999_999_999_999

var (
	// ErrSyntax: the text is not a JSON number.
	ErrSyntax = errors.New("not a decimal number")
	// ErrRange: the exact value needs more digits than a Decimal has.
	ErrRange = errors.New("exact value is out of range: at most 19 digits, at most 19 after the point")
)

// Decimal is a number of the range above. The zero value is 0. It has no -0. Compare values by [Decimal.Cmp]: 0.1 and
// 0.10 are equal by value but differ by ==.
//
// It wraps github.com/govalues/decimal and uses only those of its operations that cannot round.
type Decimal struct{ d decimal.Decimal }

// MustParse is Parse for constants: it panics on an error.
func MustParse(s string) Decimal {
	d, err := Parse([]byte(s))
	if err != nil {
		panic(err)
	}
	return d
}

// exactly returns (-1)^neg * coef / 10^scale exactly, for coef <= maxCoef and 0 <= scale <= Digits.
func exactly(neg bool, coef uint64, scale int) (Decimal, error) {
	var d decimal.Decimal
	var err error
	if coef <= math.MaxInt64 {
		d, err = decimal.New(int64(coef), scale)
	} else if d, err = decimal.New(math.MaxInt64, scale); err == nil {
		var rest decimal.Decimal
		if rest, err = decimal.New(int64(coef-math.MaxInt64), scale); err == nil {
			d, err = d.AddExact(rest, scale)
		}
	}
	if err != nil {
		return Decimal{}, ErrRange
	}
	if neg {
		d = d.Neg()
	}
	return Decimal{d}, nil
}

// Add returns d + e exactly, with the larger of both scales, or an error that wraps ErrRange.
func (d Decimal) Add(e Decimal) (Decimal, error) {
	// With a wanted scale that no operand exceeds AddExact fails where it would have to round.
	sum, err := d.d.AddExact(e.d, max(d.d.Scale(), e.d.Scale()))
	if err == nil {
		return Decimal{sum}, nil
	}
	return d.addWide(e)
}

// Cmp returns -1, 0 or 1 as d is less than, equal to or greater than e by value.
func (d Decimal) Cmp(e Decimal) int { return d.d.Cmp(e.d) }

// IsZero says whether d is 0 of any scale.
func (d Decimal) IsZero() bool { return d.d.IsZero() }

// Append appends d in plain notation: digits, no exponent, at least one digit before a point, `-` only below zero.
func (d Decimal) Append(dst []byte) []byte {
	dst, _ = d.d.AppendText(dst) // never fails
	return dst
}

// String returns what Append appends.
func (d Decimal) String() string { return d.d.String() }

// MarshalJSON returns d as a JSON number.
func (d Decimal) MarshalJSON() ([]byte, error) { return d.Append(nil), nil }

// UnmarshalJSON reads a JSON number. Anything else is an error, null and a number in a string too.
func (d *Decimal) UnmarshalJSON(src []byte) error {
	if len(src) > 0 && src[0] != '-' && (src[0] < '0' || src[0] > '9') {
		return fmt.Errorf("%.20q is not a JSON number", src)
	}
	v, err := Parse(src)
	if err == nil {
		*d = v
	}
	return err
}
