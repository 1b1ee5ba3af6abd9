package dom0

import "testing"

// TestOwnMemory: this machine has memory left, and some of it can be taken and given back.
func TestOwnMemory(t *testing.T) {
	t.Parallel()
	var m ownMemory
	left, err := m.Left()
	if err != nil || left < 1<<20 {
		t.Fatalf("%d bytes left, %v", left, err)
	}
	release, err := m.Take(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, err := m.Take(1 << 62); err == nil {
		t.Error("more memory was taken than there can be")
	}
}
