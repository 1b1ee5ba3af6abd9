package xenctrl_test

import (
	"encoding/binary"
	"testing"
	"time"

	xc "hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/xentest"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	"hangbench/monitor/driver/xenctrl"
	"hangbench/monitor/trap"
)

// The guest's kernel: the switch function's page, the run queues' page and code
// elsewhere.
const (
	switchVA    = 0xffffffff810081e0
	switchGFN   = 0x18
	switchGPA   = switchGFN<<12 | switchVA&0xfff
	elseVA      = 0xffffffff82000000
	elseGPA     = 0x20_000
	queuesGFN   = 0x30
	counterOff  = 0x40 // of CPU 0; CPU 1's is 8 bytes further on
	otherOff    = 0x80
	firstByte   = 0x55
	switchPages = 0x40
)

// kernel is a guest whose vCPUs switch tasks all the time, and its reader.
type kernel struct {
	host   *xentest.Host
	guest  *xentest.Guest
	driver *xenctrl.Driver
}

func newKernel(t *testing.T, vcpus int) *kernel {
	t.Helper()
	h := xentest.NewHost(xentest.Config{PhysicalCPUs: vcpus})
	g := h.NewGuest(xentest.GuestConfig{Name: "guest", VCPUs: vcpus, Pages: switchPages})
	g.Page(switchGFN)[switchVA&0xfff] = firstByte
	for i := range vcpus {
		counter := uint64(counterOff + 8*i)
		g.VCPU(i).SetProgram(true,
			xentest.Instruction{RIP: elseVA, GPA: elseGPA},
			xentest.Instruction{RIP: elseVA + 1, GPA: elseGPA + 1, Op: xentest.Write, Target: queuesGFN<<12 | otherOff},
			xentest.Instruction{RIP: elseVA + 2, GPA: elseGPA + 2, Op: xentest.Add, Target: queuesGFN<<12 | counter, Value: 1},
			xentest.Instruction{RIP: elseVA + 3, GPA: elseGPA + 3, Op: xentest.LoadCR3, Value: 0x1000},
			xentest.Instruction{RIP: elseVA + 4, GPA: elseGPA + 4, Op: xentest.LoadCR3, Value: 0x2000},
			xentest.Instruction{RIP: switchVA, GPA: switchGPA},
			xentest.Instruction{RIP: switchVA + 4, GPA: switchGPA + 4, Do: func(r *xc.Registers) { r.RSP += 0x4000 }},
			xentest.Instruction{RIP: elseVA + 5, GPA: elseGPA + 5})
	}
	d, err := xenctrl.New(h.Xen(), int(g.ID()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if n := h.Mappings(); n != 0 {
			t.Errorf("%d mappings are left", n)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return &kernel{h, g, d}
}

func (k *kernel) Function(addr uint64) (string, uint64, bool) {
	return "__switch_to_asm", addr - switchVA, addr >= switchVA && addr < switchVA+64
}

func (*kernel) Data(uint64) (string, bool) { return "", false }

// RunQueue reads the counter of switches from the guest's memory.
func (k *kernel) RunQueue(cpu int, q *detect.RunQueue) bool {
	var b [8]byte
	if err := k.driver.ReadPhysical(queuesGFN<<12|counterOff+8*uint64(cpu), b[:]); err != nil {
		return false
	}
	*q = detect.RunQueue{Switches: binary.LittleEndian.Uint64(b[:]), Running: 1}
	return true
}

func (*kernel) Inspect(k *detect.Kernel)                  { *k = detect.Kernel{Panicking: -1} }
func (*kernel) Callers(names []string, _ uint64) []string { return names }
func (k *kernel) switches(cpu int) uint64 {
	return binary.LittleEndian.Uint64(k.guest.Page(queuesGFN)[counterOff+8*cpu:])
}
func (k *kernel) attach(name string) (*monitor.Session, error) {
	m, err := trap.Find(name)
	if err != nil {
		return nil, err
	}
	site := trap.Site{Symbol: "__switch_to_asm", VA: switchVA, GFN: switchGFN}
	for i := range k.driver.VCPUs() {
		site.Counters = append(site.Counters, trap.Place{GFN: queuesGFN, Offset: counterOff + 8*uint64(i)})
	}
	start := time.Now()
	return monitor.Attach(monitor.Config{Driver: k.driver, Mechanism: m, Site: site, Symbols: k, Kernel: k,
		Thresholds: detect.DefaultThresholds(), Sample: 5 * time.Millisecond,
		Now: func() int64 { return int64(time.Since(start)) }})
}

// await waits until something is so.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 15 s", what)
		}
	}
}

// TestSession attaches a session of every mechanism to a guest with two vCPUs, waits for
// signals, and detaches. Nothing may be left behind in the guest.
func TestSession(t *testing.T) {
	t.Parallel()
	for _, m := range trap.Mechanisms() {
		if !m.Watches() {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			k := newKernel(t, 2)
			stop := k.guest.Start(16)
			defer stop()
			s, err := k.attach(m.Name)
			if err != nil {
				t.Fatal(err)
			}
			await(t, "twenty signals", func() bool { return s.Signals() >= 20 })
			c, err := s.Detach()
			if err != nil {
				t.Fatal(err)
			}
			if c.Samples == 0 || c.Signals < 20 || c.Strange != 0 || c.BackedOut != "" || !m.Polls && c.Events() == 0 ||
				m.Polls && c.Events() != 0 {
				t.Errorf("%+v", c)
			}
			if err := k.guest.Clean(); err != nil {
				t.Error(err)
			}
			if b := k.guest.Page(switchGFN)[switchVA&0xfff]; b != firstByte {
				t.Errorf("the switch function begins with %#x", b)
			}
			for cpu := range 2 {
				before := k.switches(cpu)
				await(t, "the guest switches on", func() bool { return k.switches(cpu) > before+10 })
				if st := k.guest.VCPU(cpu).Stats(); st.Breakpoints != 0 || st.Undefined != 0 {
					t.Errorf("vCPU %d: %+v", cpu, st)
				}
			}
		})
	}
}

// TestSessionDies: Recover undoes everything that a monitor leaves behind if it ends
// without detaching.
func TestSessionDies(t *testing.T) {
	t.Parallel()
	k := newKernel(t, 2)
	ring, err := k.driver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	p := ring.(driver.Puller)
	steps := []func() error{
		func() error { return ring.EnableStep(true) },
		func() error { return ring.EnableBreakpoints(true) },
		func() error { return ring.EnableViews(true) },
		func() error { return ring.SetAccess(driver.HostView, switchGFN, driver.AccessRW) },
		func() error { return k.driver.WritePhysical(elseGPA, []byte{0xcc}) },
		func() error { return p.Wait(time.Second) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if err := k.guest.Clean(); err == nil {
		t.Fatal("nothing is left behind: the test tests nothing")
	}
	left := xc.Leftover{Restricted: []uint64{switchGFN}, Patched: []xc.Patched{{GPA: elseGPA, Old: []byte{0},
		By: []byte{0xcc}}}}
	r, err := k.host.Xen().Domain(k.guest.ID()).Recover(left)
	if want := (xc.Recovery{MonitorWasOn: true, Altp2mWasOn: true, Restricted: 1, AccessReset: 1, BytesRestored: 1,
		Answered: true}); err != nil || r != want {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	if err := k.guest.Clean(); err != nil {
		t.Error(err)
	}
	before := k.switches(0)
	k.guest.Run(100)
	if k.switches(0) == before {
		t.Error("the guest stands still")
	}
	if err := ring.Close(); err == nil { // its ring is gone
		t.Error("the dead monitor let go of a ring that it does not have")
	}
}
