package audit

import (
	"math/big"
	"strings"
)

// maxDigits is the most digits of an amount, in all and after the point.
const maxDigits = 19

// sum is coef / 10^scale.
type sum struct {
	coef  big.Int
	scale int
}

var (
	ten     = big.NewInt(10)
	tooMany = new(big.Int).Exp(ten, big.NewInt(maxDigits), nil) // the least coefficient with too many digits
)

// parseSum reads plain decimal notation.
func parseSum(text string) *sum {
	s := new(sum)
	whole, fraction, _ := strings.Cut(text, ".")
	s.coef.SetString(whole+fraction, 10)
	s.scale = len(fraction)
	return s
}

// plus returns s + t exactly, with the larger scale; zeros at the end are dropped as far as the digits demand it. It
// returns nil when the digits do not suffice.
func (s *sum) plus(t *sum) *sum {
	r := &sum{scale: max(s.scale, t.scale)}
	r.coef.Add(s.at(r.scale), t.at(r.scale))
	for r.coef.CmpAbs(tooMany) >= 0 {
		q, rest := new(big.Int).QuoRem(&r.coef, ten, new(big.Int))
		if rest.Sign() != 0 || r.scale == 0 {
			return nil
		}
		r.coef.Set(q)
		r.scale--
	}
	return r
}

// at is the coefficient at a scale that is not below s's own.
func (s *sum) at(scale int) *big.Int {
	if scale == s.scale {
		return &s.coef
	}
	factor := new(big.Int).Exp(ten, big.NewInt(int64(scale-s.scale)), nil)
	return factor.Mul(factor, &s.coef)
}

// String is plain notation with all digits of the scale.
func (s *sum) String() string {
	digits := new(big.Int).Abs(&s.coef).Text(10)
	if missing := s.scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if s.scale > 0 {
		digits = digits[:len(digits)-s.scale] + "." + digits[len(digits)-s.scale:]
	}
	if s.coef.Sign() < 0 {
		return "-" + digits
	}
	return digits
}
