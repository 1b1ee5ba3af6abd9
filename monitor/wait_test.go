package monitor

import (
	"testing"
	"time"
)

// TestNoRing: a wait ends by its time, and by Wake before or meanwhile.
func TestNoRing(t *testing.T) {
	var r noRing
	for _, d := range []time.Duration{time.Millisecond, 0, -time.Second} {
		if err := r.Wait(d); err != nil {
			t.Error(err)
		}
	}
	r.Wake()
	if err := r.Wait(time.Hour); err != nil || r.woken.Load() {
		t.Errorf("%v, woken still %v", err, r.woken.Load())
	}
	go r.Wake()
	if err := r.Wait(time.Hour); err != nil {
		t.Error(err)
	}
	if n := testing.AllocsPerRun(20, func() { r.Wait(0) }); n != 0 {
		t.Errorf("%v allocations a wait", n)
	}
}
