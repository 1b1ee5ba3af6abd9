package plan

import "testing"

func TestHash(t *testing.T) {
	t.Parallel()
	a := []Trial{{Index: 0, Seed: 1}, {Index: 1, Seed: 1}}
	b := []Trial{{Index: 0, Seed: 1}, {Index: 1, Seed: 2}}
	ha, err := Hash(a)
	if err != nil {
		t.Fatal(err)
	}
	hb, err := Hash(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := Hash(a); again != ha || ha == hb || len(ha) != 64 {
		t.Errorf("hashes %q, %q again, %q of another plan", ha, again, hb)
	}
}
