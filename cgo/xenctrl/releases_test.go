package xenctrl

import "testing"

// TestFacts: a release has the facts of the newest entry of the table that is not newer.
func TestFacts(t *testing.T) {
	t.Parallel()
	all := releases()
	for i := range all[1:] {
		if all[i].minor >= all[i+1].minor || all[i].facts == all[i+1].facts {
			t.Errorf("entry %d of the table is not older than the next, or changes nothing", i)
		}
	}
	for _, c := range []struct {
		major, minor int
		want         Facts
	}{
		{4, 14, all[0].facts}, {4, 17, all[0].facts}, {4, 18, all[0].facts}, {4, 19, all[1].facts},
		{4, 20, all[2].facts}, {4, 21, all[3].facts}, {4, 22, all[4].facts}, {4, 30, all[4].facts}, {5, 0, all[4].facts},
	} {
		if got := (Version{Major: c.major, Minor: c.minor}).Facts(); got != c.want {
			t.Errorf("Xen %d.%d: %+v, want %+v", c.major, c.minor, got, c.want)
		}
	}
}
