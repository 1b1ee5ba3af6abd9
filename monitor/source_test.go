package monitor

import (
	"testing"
	"time"
)

// TestTimer: a wait ends by its time, and by Wake before it or during it.
func TestTimer(t *testing.T) {
	var r timer
	for _, d := range []time.Duration{time.Millisecond, 0, -time.Second} {
		if n, err := r.serve(d, nil); n != 0 || err != nil {
			t.Errorf("%d events, %v", n, err)
		}
	}
	r.Wake()
	if _, err := r.serve(time.Hour, nil); err != nil || r.woken.Load() {
		t.Errorf("%v, woken still %v", err, r.woken.Load())
	}
	go r.Wake()
	if _, err := r.serve(time.Hour, nil); err != nil {
		t.Error(err)
	}
	if n := testing.AllocsPerRun(20, func() { r.serve(0, nil) }); n != 0 {
		t.Errorf("%v allocations in a wait", n)
	}
}
