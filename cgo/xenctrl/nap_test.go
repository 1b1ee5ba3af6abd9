//go:build linux

package xenctrl

import (
	"syscall"
	"testing"
	"time"
)

// newNapper has a pipe in place of the event channel's device: the napper has
// the end to read, and w is the other.
func newNapper(t *testing.T) (n *napper, w *napper) {
	t.Helper()
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(p[0]); syscall.Close(p[1]) })
	return &napper{fd: p[0]}, &napper{fd: p[1]}
}

func TestNap(t *testing.T) {
	n, w := newNapper(t)
	want, b := [4]byte{1, 2, 3, 4}, [4]byte{}
	for range napLuck + 2 {
		if err := w.write(&want); err != nil {
			t.Fatal(err)
		}
		if ready, napped, err := n.nap(-1, &b); !ready || napped || err != nil || b != want {
			// Without luck a nap is left out; there was only luck here.
			t.Fatalf("with something to read: %v %v %v, read %v", ready, napped, err, b)
		}
	}
	if n.luck != napLuck {
		t.Errorf("luck %d after %d naps that were worth it", n.luck, napLuck+2)
	}
	if err := w.write(&want); err != nil {
		t.Fatal(err)
	}
	if ready, _, err := n.nap(0, &b); !ready || err != nil {
		t.Errorf("without any time, something to read: %v %v", ready, err)
	}
	if avg := testing.AllocsPerRun(50, func() { w.write(&want); n.nap(-1, &b) }); avg != 0 {
		t.Errorf("%v allocations a nap", avg)
	}
}

// TestNapInVain: naps in which nothing comes are soon left out, and tried again
// now and then.
func TestNapInVain(t *testing.T) {
	n, w := newNapper(t)
	n.luck = napLuck
	var b [4]byte
	naps := 0
	for naps < napLuck/2 {
		// The runtime's signal may end one early, which counts neither way.
		ready, napped, err := n.nap(time.Microsecond, &b)
		if ready || err != nil {
			t.Fatalf("nothing to read: %v %v", ready, err)
		}
		if napped {
			naps++
		}
	}
	if n.luck != 0 {
		t.Fatalf("luck %d after %d naps in vain", n.luck, naps)
	}
	// The first wait without luck is a try.
	if err := w.write(&b); err != nil {
		t.Fatal(err)
	}
	if ready, _, err := n.nap(-1, &b); !ready || err != nil || n.luck != 1 {
		t.Fatalf("the first try: %v %v, luck %d", ready, err, n.luck)
	}
	n.luck = 0
	left := 0
	for {
		if err := w.write(&b); err != nil {
			t.Fatal(err)
		}
		ready, _, err := n.nap(-1, &b)
		if err != nil {
			t.Fatal(err)
		}
		if ready {
			break
		}
		if left++; left > 2*napAgain {
			t.Fatal("not tried again")
		}
	}
	if left != napAgain-1 {
		t.Errorf("%d waits left out before the next try, want %d", left, napAgain-1)
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
	n.fd = p[0]
	if ready, _, err := n.nap(-1, &b); ready || err != syscall.EIO {
		t.Errorf("the other end is closed: %v %v", ready, err)
	}
}
