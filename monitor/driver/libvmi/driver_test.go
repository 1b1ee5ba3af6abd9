package libvmi

import (
	"bytes"
	"errors"
	"testing"
	"time"

	vmi "hangbench/cgo/libvmi"
	"hangbench/monitor/driver"
)

// cached reads memory as LibVMI does: a frame that was mapped, or could not be mapped,
// stays so until FlushPages, whatever the guest has there meanwhile.
type cached struct {
	guest  map[uint64]byte // the byte that each frame is full of
	mapped map[uint64]byte
	failed map[uint64]bool
	maps   int
}

func (c *cached) Close() error                        { return nil }
func (c *cached) Pause() error                        { return nil }
func (c *cached) Resume() error                       { return nil }
func (c *cached) Registers(int, *vmi.Registers) error { return nil }
func (c *cached) WritePhysical(uint64, []byte) error  { return nil }
func (c *cached) FlushPages()                         { clear(c.mapped); clear(c.failed) }
func (c *cached) SpareFrame() (uint64, error)         { return 9, nil }
func (c *cached) AddFrame(gfn uint64) error           { c.guest[gfn] = 0; return nil }
func (c *cached) RemoveFrame(gfn uint64) error {
	c.FlushPages()
	delete(c.guest, gfn)
	return nil
}

func (c *cached) ReadPhysical(pa uint64, b []byte) error {
	gfn := pa >> 12
	if _, ok := c.mapped[gfn]; !ok {
		c.maps++
		v, ok := c.guest[gfn]
		if !ok || c.failed[gfn] {
			c.failed[gfn] = true
			return errors.New("not mapped")
		}
		c.mapped[gfn] = v
	}
	copy(b, bytes.Repeat([]byte{c.mapped[gfn]}, len(b)))
	return nil
}

func testDriver() (*Driver, *cached, *time.Time) {
	c := &cached{guest: map[uint64]byte{}, mapped: map[uint64]byte{}, failed: map[uint64]bool{}}
	now := time.Unix(1000, 0)
	return &Driver{mem: c, now: func() time.Time { return now }, flushed: now}, c, &now
}

func read(t *testing.T, d *Driver, gfn uint64) byte {
	t.Helper()
	var b [8]byte
	if err := d.ReadPhysical(gfn<<12, b[:]); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// TestFresh: the new contents of a frame that the guest has exchanged are read after
// maxAge at the latest.
func TestFresh(t *testing.T) {
	d, c, now := testDriver()
	c.guest[1] = 1
	if read(t, d, 1) != 1 {
		t.Fatal("wrong before anything happened")
	}
	c.guest[1] = 2
	*now = now.Add(maxAge / 2)
	for range ageReads {
		read(t, d, 1)
	}
	if c.maps != 1 {
		t.Errorf("mapped %d times before it was old", c.maps)
	}
	*now = now.Add(maxAge)
	for range ageReads {
		read(t, d, 1)
	}
	if got := read(t, d, 1); got != 2 {
		t.Errorf("read %d, which the guest does not have any more; it has 2", got)
	}
}

// TestComesBack: a frame that was missing is read once the guest has it.
func TestComesBack(t *testing.T) {
	d, c, _ := testDriver()
	var b [8]byte
	if err := d.ReadPhysical(5<<12, b[:]); err == nil {
		t.Fatal("read a frame that is not there")
	}
	c.guest[5] = 7
	if got := read(t, d, 5); got != 7 {
		t.Errorf("read %d, want 7", got)
	}
}

func TestEvent(t *testing.T) {
	for _, x := range []struct {
		in   vmi.Event
		want driver.Event
	}{
		{vmi.Event{Kind: vmi.KindMemory, VCPU: 1, View: 2, GFN: 3, Offset: 4, Access: vmi.TrapWrite,
			RIP: 5, RSP: 8, RFLAGS: 6, CR3: 7},
			driver.Event{Kind: driver.EventAccess, VCPU: 1, View: 2, GFN: 3, Offset: 4, Write: true,
				RIP: 5, RSP: 8, RFLAGS: 6, CR3: 7}},
		{vmi.Event{Kind: vmi.KindMemory, Access: vmi.TrapExec}, driver.Event{Kind: driver.EventAccess, Execute: true}},
		{vmi.Event{Kind: vmi.KindRegister, Reg: vmi.CR3, Value: 8, CR3: 7}, driver.Event{Kind: driver.EventCR3, CR3: 8}},
		{vmi.Event{Kind: vmi.KindRegister, Reg: vmi.CR3 + 1, Value: 8, CR3: 7},
			driver.Event{Kind: driver.EventOther, CR3: 7}},
		{vmi.Event{Kind: vmi.KindSingleStep}, driver.Event{Kind: driver.EventStep}},
		{vmi.Event{Kind: vmi.KindBreakpoint}, driver.Event{Kind: driver.EventBreakpoint}},
		{vmi.Event{Kind: vmi.KindFailedEmulation}, driver.Event{Kind: driver.EventUnemulated}},
		{vmi.Event{Kind: 5}, driver.Event{}}, // VMI_EVENT_GUEST_REQUEST
	} {
		var got driver.Event
		if fromVMI(&x.in, &got); got != x.want {
			t.Errorf("%+v: %+v, want %+v", x.in, got, x.want)
		}
	}
}

func TestResponse(t *testing.T) {
	in := driver.Response{ToggleStep: true, SwitchView: true, View: 1, FastStep: true, StepView: 2, Emulate: true,
		Reinject: true}
	want := vmi.Response{ToggleStep: true, SetView: true, View: 1, FastStep: true, NextView: 2, Emulate: true,
		Reinject: true}
	if got := toVMI(&in); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestHandlerPanics: the panic does not reach C. The event gets the plain answer, and so
// do the events after it.
func TestHandlerPanics(t *testing.T) {
	calls := 0
	r := &ring{handle: func(*driver.Event, *driver.Response) error { calls++; panic("boo") }}
	for range 2 {
		if out := r.event(&vmi.Event{Kind: vmi.KindMemory}); out != (vmi.Response{}) {
			t.Errorf("answered %+v", out)
		}
	}
	if r.panic != "boo" || calls != 1 {
		t.Errorf("kept %v after %d calls", r.panic, calls)
	}
}
