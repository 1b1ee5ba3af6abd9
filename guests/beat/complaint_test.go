package beat

import (
	"strings"
	"testing"
)

// TestComplaint: dom0 reads the guest's complaint, cut to its length and without control
// characters, and the counters beside it stay as they are.
func TestComplaint(t *testing.T) {
	t.Parallel()
	b := make([]byte, Size)
	p, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	p.Order(Order{Work: 3, Seconds: 2})
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{"open /dev/xvda: no such file", "open /dev/xvda: no such file"},
		{strings.Repeat("x", 1000), strings.Repeat("x", MostComplaint)},
		{"a\x1b[2Jb\n", "a?[2Jb?"},
		{"short", "short"},
		{"", ""},
	} {
		p.Complain(tc.text)
		if got := p.Complaint(); got != tc.want {
			t.Errorf("%q is read as %q, want %q", tc.text, got, tc.want)
		}
	}
	p.Complain(strings.Repeat("\xff", MostComplaint))
	if o := p.Ordered(); o != (Order{3, 2}) || p.Count(MaxCPUs-1) != (Count{}) {
		t.Errorf("a complaint wrote over the order or a counter: %+v, %+v", o, p.Count(MaxCPUs-1))
	}
	for i := offComplaint + MostComplaint; i < Size; i++ {
		if b[i] != 0 {
			t.Fatalf("a complaint wrote over byte %d", i)
		}
	}
}
