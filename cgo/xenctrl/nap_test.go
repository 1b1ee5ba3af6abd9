//go:build linux

package xenctrl

import (
	"syscall"
	"testing"
	"time"
)

// pipeNapper has a pipe in place of the event channel's device: n has the end to
// read, and w is the other.
func pipeNapper(t *testing.T) (n, w *napper) {
	t.Helper()
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(p[0]); syscall.Close(p[1]) })
	return &napper{fd: p[0]}, &napper{fd: p[1]}
}

func TestNap(t *testing.T) {
	n, w := pipeNapper(t)
	want, b := [4]byte{1, 2, 3, 4}, [4]byte{}
	for _, timeout := range []time.Duration{-1, 0, time.Hour} {
		if err := w.write(&want); err != nil {
			t.Fatal(err)
		}
		b = [4]byte{}
		if ready, woken, err := n.nap(timeout, &b); !ready || woken || err != nil || b != want {
			t.Fatalf("with something to read: %v %v %v, read %v", ready, woken, err, b)
		}
	}
	go w.write(&want)
	if ready, woken, err := n.nap(-1, &b); !ready || woken || err != nil {
		t.Errorf("something comes: %v %v %v", ready, woken, err)
	}
	if avg := testing.AllocsPerRun(50, func() { w.write(&want); n.nap(-1, &b) }); avg != 0 {
		t.Errorf("%v allocations a nap", avg)
	}
	for _, timeout := range []time.Duration{0, time.Millisecond} {
		if ready, woken, err := n.nap(timeout, &b); ready || woken || err != nil {
			t.Errorf("nothing comes in %v: %v %v %v", timeout, ready, woken, err)
		}
	}
}

func TestNapWoken(t *testing.T) {
	n, w := pipeNapper(t)
	var b [4]byte
	go n.wake()
	if ready, woken, err := n.nap(-1, &b); ready || !woken || err != nil {
		t.Errorf("woken: %v %v %v", ready, woken, err)
	}
	// Before the nap, and with something to read as well.
	n.wake()
	if err := w.write(&b); err != nil {
		t.Fatal(err)
	}
	if ready, woken, err := n.nap(-1, &b); !ready || !woken || err != nil {
		t.Errorf("woken, and something came: %v %v %v", ready, woken, err)
	}
	if ready, woken, err := n.nap(0, &b); ready || woken || err != nil {
		t.Errorf("woken once, the next nap: %v %v %v", ready, woken, err)
	}
}

func TestNapFails(t *testing.T) {
	n, b := &napper{fd: -1}, [4]byte{}
	if err := n.write(&b); err != syscall.EBADF {
		t.Errorf("write: %v", err)
	}
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	syscall.Close(p[1])
	defer syscall.Close(p[0])
	n = &napper{fd: p[0]}
	if ready, _, err := n.nap(-1, &b); ready || err != syscall.EIO {
		t.Errorf("the other end is closed: %v %v", ready, err)
	}
}
