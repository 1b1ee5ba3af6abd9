package tsc

import "testing"

func TestRead(t *testing.T) {
	last := Read()
	for range 1000 {
		now := Read()
		if now < last {
			t.Fatalf("the counter went from %d back to %d", last, now)
		}
		last = now
	}
	if first := Read(); Read()-first == 0 && Read() == first {
		t.Fatal("the counter stands still")
	}
}
