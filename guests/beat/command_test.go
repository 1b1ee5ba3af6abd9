package beat

import (
	"slices"
	"strings"
	"testing"
)

// TestCommand: the guest reads the command that dom0 has set last, and a command that does
// not fit is refused and leaves the last one alone.
func TestCommand(t *testing.T) {
	t.Parallel()
	p, err := New(make([]byte, Size))
	if err != nil {
		t.Fatal(err)
	}
	p.Complain("a complaint")
	whole := strings.Repeat("x", MostCommand-1)
	for _, want := range [][]string{nil, {"/bin/a", "-b", "c=1"}, {"/bin/d"}, {whole}, nil} {
		if err := p.SetCommand(want); err != nil || !slices.Equal(p.Command(), want) {
			t.Errorf("%.80q is read as %.80q, %v", want, p.Command(), err)
		}
	}
	if err := p.SetCommand([]string{"/bin/d"}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{{whole + "x"}, {"a", ""}, {"a\x00b"}, {whole, "a"}} {
		if err := p.SetCommand(bad); err == nil || !slices.Equal(p.Command(), []string{"/bin/d"}) {
			t.Errorf("%.80q: %v, and the command is %.80q", bad, err, p.Command())
		}
	}
	if got := p.Complaint(); got != "a complaint" || p.Total(MaxCPUs) != (Count{}) {
		t.Errorf("a command wrote over the complaint, now %q, or a counter", got)
	}
}
