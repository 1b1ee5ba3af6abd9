package inject

import (
	"errors"
	"fmt"
	"testing"
)

// fakeKernel has one lock word at physical 0x5000, held for so many looks.
type fakeKernel struct {
	word   [8]byte
	busy   int // looks at which a writer holds the lock
	paused int
	wild   int // writes while the guest ran
	stuck  bool
	noGo   bool // Unpause fails
}

func (k *fakeKernel) Symbol(name string) (uint64, error) {
	if name != "tasklist_lock" {
		return 0, fmt.Errorf("no symbol %s", name)
	}
	return 0xffff5000, nil
}
func (k *fakeKernel) Offset(typ, field string) (uint64, error) { return 0, nil }
func (k *fakeKernel) Translate(va uint64) (uint64, error)      { return va & 0xffff, nil }
func (k *fakeKernel) Pause() error                             { k.paused++; return nil }
func (k *fakeKernel) Unpause() error {
	k.paused--
	if k.noGo {
		return errors.New("cannot unpause")
	}
	return nil
}
func (k *fakeKernel) ReadPhysical(gpa uint64, b []byte) error {
	if k.busy > 0 {
		k.busy--
		b[0] = 1
		return nil
	}
	copy(b, k.word[gpa-0x5000:])
	return nil
}
func (k *fakeKernel) WritePhysical(gpa uint64, b []byte) error {
	if b[0] != 0 && k.paused == 0 {
		k.wild++
	}
	if !k.stuck {
		copy(k.word[gpa-0x5000:], b)
	}
	return nil
}

func TestHoldRWLock(t *testing.T) {
	k := &fakeKernel{busy: 3}
	k.word[1] = 2 // a reader inside: its bits must survive
	in, err := HoldRWLock(k, "tasklist_lock")
	if err != nil {
		t.Fatal(err)
	}
	if k.word != [8]byte{0xff, 2} || k.paused != 0 || k.wild != 0 {
		t.Errorf("after the injection: word %x, %d pauses open, %d writes into a running guest", k.word, k.paused, k.wild)
	}
	if err := in.Lift(); err != nil {
		t.Fatal(err)
	}
	if k.word != [8]byte{0, 2} {
		t.Errorf("after lifting: word %x", k.word)
	}
}

func TestHoldRWLockFails(t *testing.T) {
	if _, err := HoldRWLock(&fakeKernel{}, "no_such_lock"); err == nil {
		t.Error("an unknown lock was held")
	}
	k := &fakeKernel{busy: 1 << 30}
	if _, err := HoldRWLock(k, "tasklist_lock"); !errors.Is(err, ErrLockBusy) {
		t.Errorf("lock never free: %v", err)
	}
	if k.paused != 0 {
		t.Errorf("%d pauses left open", k.paused)
	}
	if _, err := HoldRWLock(&fakeKernel{stuck: true}, "tasklist_lock"); err == nil {
		t.Error("a write that did not stick went unnoticed")
	}
	k = &fakeKernel{noGo: true}
	if _, err := HoldRWLock(k, "tasklist_lock"); err == nil || k.word != [8]byte{} {
		t.Errorf("a fault that is not reported as in place stayed: %x, %v", k.word, err)
	}
}
