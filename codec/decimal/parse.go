package decimal

import (
	"fmt"

	"github.com/govalues/decimal"
)

// maxExponent is where a written exponent stops growing: far beyond what any text's digits can make up for, far below
// an overflow.
const maxExponent = 1 << 40

// Parse reads a number of JSON's grammar (RFC 8259, section 6) that fills src: an exponent is allowed; `+1`, `.5`, `5.`,
// `01`, NaN and hexadecimal are not. An exponent is applied to the scale: 1e3 is 1000 and 1E-2 is 0.01. Errors wrap
// ErrSyntax or ErrRange. Parse takes time linear in len(src) and no memory, whatever the exponent says.
func Parse(src []byte) (Decimal, error) {
	if coef, scale, ok := short(src); ok {
		if d, err := decimal.New(coef, scale); err == nil {
			return Decimal{d}, nil
		}
	}
	n, ok := scan(src)
	if !ok {
		return Decimal{}, fmt.Errorf("%w: %.40q", ErrSyntax, src)
	}
	d, err := n.decimal()
	if err != nil {
		return Decimal{}, fmt.Errorf("%.40q: %w", src, err)
	}
	return d, nil
}

// short reads a number of at most 18 digits without an exponent, as most amounts are: it is coef / 10^scale. What it
// does not take, good or bad, scan judges.
func short(src []byte) (coef int64, scale int, ok bool) {
	digits := src
	if len(src) > 0 && src[0] == '-' {
		digits = src[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(digits) > 1 && digits[1] != '.' {
		return 0, 0, false
	}
	point := -1
	for i, c := range digits {
		switch {
		case isDigit(c):
			coef = coef*10 + int64(c-'0')
		case c == '.' && i > 0 && point < 0:
			point = i
		default:
			return 0, 0, false
		}
	}
	switch last := len(digits) - 1; {
	case point < 0:
		ok = last < 18
	default:
		scale = last - point
		ok = scale > 0
	}
	if len(digits) < len(src) {
		coef = -coef
	}
	return coef, scale, ok
}

// number is (-1)^neg * coef * 10^exp.
type number struct {
	neg  bool
	lost bool   // a digit other than zero was written behind the 19th: coef is not all of it
	coef uint64 // <= maxCoef
	exp  int
}

// scan reads all of src.
func scan(src []byte) (n number, ok bool) {
	i := 0
	if i < len(src) && src[i] == '-' {
		n.neg, i = true, 1
	}
	start := i
	for ; i < len(src) && isDigit(src[i]); i++ {
		n.digit(src[i])
	}
	if i == start || src[start] == '0' && i > start+1 {
		return n, false
	}
	if i < len(src) && src[i] == '.' {
		i++
		start = i
		for ; i < len(src) && isDigit(src[i]); i++ {
			n.digit(src[i])
			n.exp--
		}
		if i == start {
			return n, false
		}
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		exp, ok := scanExponent(src[i+1:])
		n.exp += exp
		return n, ok
	}
	return n, i == len(src)
}

// digit takes one more digit of the coefficient. Zeros beyond the 19th digit are kept as an exponent.
func (n *number) digit(c byte) {
	if n.coef <= maxCoef/10 {
		n.coef = n.coef*10 + uint64(c-'0')
		return
	}
	n.exp++
	n.lost = n.lost || c != '0'
}

func scanExponent(src []byte) (exp int, ok bool) {
	neg := false
	if len(src) > 0 && (src[0] == '-' || src[0] == '+') {
		neg, src = src[0] == '-', src[1:]
	}
	for _, c := range src {
		if !isDigit(c) {
			return 0, false
		}
		exp = min(exp*10+int(c-'0'), maxExponent)
	}
	if neg {
		exp = -exp
	}
	return exp, len(src) > 0
}

// decimal returns n exactly or ErrRange.
func (n number) decimal() (Decimal, error) {
	if n.lost {
		return Decimal{}, ErrRange
	}
	if n.coef == 0 {
		return exactly(false, 0, min(max(-n.exp, 0), Digits))
	}
	for ; n.exp > 0; n.exp-- {
		if n.coef > maxCoef/10 {
			return Decimal{}, ErrRange
		}
		n.coef *= 10
	}
	for ; n.exp < -Digits; n.exp++ {
		if n.coef%10 != 0 {
			return Decimal{}, ErrRange
		}
		n.coef /= 10
	}
	return exactly(n.neg, n.coef, -n.exp)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
