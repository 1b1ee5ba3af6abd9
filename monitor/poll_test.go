package monitor

import (
	"testing"
	"time"
)

// TestNoRing: a wait ends by its time, by Wake before or meanwhile, and Wake
// may come after Close.
func TestNoRing(t *testing.T) {
	r, err := newNoRing()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := r.Wait(-time.Second); err != nil {
		t.Error(err)
	}
	r.Wake()
	if err := r.Wait(time.Hour); err != nil {
		t.Error(err)
	}
	go r.Wake()
	if err := r.Wait(time.Hour); err != nil {
		t.Error(err)
	}
	if n := testing.AllocsPerRun(20, func() { r.Wait(0) }); n != 0 {
		t.Errorf("%v allocations a wait", n)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r.Wake()
	if err := r.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}
