package session

import (
	"fmt"
	"strconv"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/csvline"
)

// TransactionCSV is the codec of the line
//
//	sessionId,winAmount[,deposit]
//
// as package csvline reads it. The session id is taken as it is, blanks too; it is not empty. The amount is a number as
// JSON writes it, with blanks around it allowed: 1,000.50 in quotes or a currency sign are errors. The deposit is true
// for true, True, TRUE, t, T and 1, with blanks around it allowed; a missing or unreadable one is false, as in the program
// this follows. Fewer than two or more than three fields are an error: a fourth is most often an id or an amount whose
// comma was not quoted. A line that starts with a zero byte is taken for Schema Registry framing; an id that starts so
// must be quoted. Append writes all three fields, without a line end.
func TransactionCSV() codec.Codec[Transaction] { return transactionCSV{} }

type transactionCSV struct{}

func (transactionCSV) Append(dst []byte, v Transaction) ([]byte, error) {
	if v.SessionID == "" {
		return dst, errEmptyID
	}
	out, err := csvline.AppendField(dst, v.SessionID)
	if err != nil {
		return dst, err
	}
	out = v.WinAmount.Append(append(out, ','))
	return strconv.AppendBool(append(out, ','), v.Deposit), nil
}

func (transactionCSV) Decode(src []byte) (Transaction, error) {
	if err := codec.CheckFraming(src); err != nil {
		return Transaction{}, err
	}
	var space [4][]byte
	fields, err := csvline.Split(space[:0], src)
	if err != nil {
		return Transaction{}, err
	}
	switch {
	case len(fields) == 1:
		return Transaction{}, present("winAmount", false)
	case len(fields) > 3:
		return Transaction{}, &codec.Error{Reason: codec.ReasonCSV, Err: fmt.Errorf(
			"line has %d fields, expected sessionId,winAmount[,deposit]; quote a field that holds a comma", len(fields))}
	case len(fields[0]) == 0:
		return Transaction{}, errEmptyID
	}
	amount, err := parseAmount(trimBlanks(fields[1]))
	if err != nil {
		return Transaction{}, err
	}
	deposit := false
	if len(fields) == 3 {
		deposit, _ = strconv.ParseBool(string(trimBlanks(fields[2])))
	}
	return Transaction{SessionID: string(fields[0]), WinAmount: amount, Deposit: deposit}, nil
}

func trimBlanks(s []byte) []byte {
	for len(s) > 0 && isBlank(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
