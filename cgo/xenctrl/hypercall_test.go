package xenctrl

import "testing"

func TestHypercall(t *testing.T) {
	for _, c := range []struct {
		name  string
		raw   []byte
		h     Hypercall
		arg   uint32
		ok    bool
		named string
	}{
		{"iret, no arguments", record(traceHypercall, 5, 23), HypercallIret, 0, true, "iret"},
		{"sched_op block, with its command", record(traceHypercall, 5, 29|1<<20, 1), HypercallSchedOp, 1, true, "sched_op"},
		{"one without a name", record(traceHypercall, 5, 41), 41, 0, true, "hypercall 41"},
		{"a number beyond all", record(traceHypercall, 5, 0xfffff), 0xfffff, 0, true, "hypercall 1048575"},
		{"an empty record", record(traceHypercall, 5), 0, 0, false, "hypercall 0"},
		{"another record", record(traceNPF, 5, 23), 0, 0, false, "hypercall 0"},
	} {
		var r Record
		if _, err := decodeRecord(c.raw, &r); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		h, arg, ok := r.Hypercall()
		if h != c.h || arg != c.arg || ok != c.ok || h.String() != c.named {
			t.Errorf("%s: %v (%d), %d, %v", c.name, h, uint32(h), arg, ok)
		}
	}
}

// FuzzHypercall: whatever a record holds, decoding it neither fails nor panics,
// and only hypercall records are hypercalls.
func FuzzHypercall(f *testing.F) {
	f.Add(record(traceHypercall, 1, 29|1<<20, 1))
	f.Add(record(traceRunstate, 1, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if _, err := decodeRecord(b, &r); err != nil {
			return
		}
		h, _, ok := r.Hypercall()
		if ok != (r.Event == traceHypercall && r.N > 0) || h > 0xfffff || h.String() == "" {
			t.Errorf("%+v: %v, %v", r, h, ok)
		}
	})
}
