package processortest

// rows is what the tables' topics hold: the last value of each key.
type rows struct {
	topics []string          // of the present form of the application
	values map[string]string // by topic, a zero byte and key
}

func (t rows) put(r Record) {
	switch at := r.Topic + "\x00" + string(r.Key); {
	case r.Key == nil: // no row's
	case r.Value == nil:
		delete(t.values, at)
	default:
		t.values[at] = string(r.Value)
	}
}

// Lookup implements task.Tables.
func (t rows) Lookup(table int, key []byte) ([]byte, bool, error) {
	v, ok := t.values[t.topics[table]+"\x00"+string(key)]
	return []byte(v), ok, nil
}
