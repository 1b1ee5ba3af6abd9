package results

import "testing"

func TestHostTitle(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		Lab: "lab (emulated; virtual time)", Xen: "xen (this machine's hardware)", "": "", "other": "other",
	} {
		if got := HostTitle(kind); got != want {
			t.Errorf("%q: %q, want %q", kind, got, want)
		}
	}
	if kinds := HostKinds(); len(kinds) != 2 || kinds[0] != Lab {
		t.Errorf("kinds %v", kinds)
	}
}
