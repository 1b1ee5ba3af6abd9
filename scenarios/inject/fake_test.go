package inject

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/beat"
)

// Symbols of the fake guest. Its virtual addresses are physical ones and base.
const (
	base       = 0xffffffff80000000
	perCPUBase = 0x8000 // of vCPU 0; that of vCPU 1 lies perCPUStep above
	perCPUStep = 0x1000
	rqLock     = 0x20 // offset of rq.__lock
)

var symbols = map[string]uint64{
	"tasklist_lock":    base + 0x1000,
	"rtnl_mutex":       base + 0x1100,
	"kthreadd_task":    base + 0x1200,
	"__per_cpu_offset": base + 0x1300,
	"panic_on_oops":    base + 0x1400,
	"pv_lock_hash":     base + 0x1500,
	"cdev_lock":        base + 0x1600,
	"panic_timeout":    base + 0x1800,
	"die_counter":      base + 0x1b00,
	"sb_lock":          base + 0x1700,
	"kernel_wait4":     base + 0x2000,
	"open":             base + 0x2ff8, // across pages
	"ustat":            base + 0x3200,
	"unlock":           base + 0x3300,
	"notify":           base + 0x3400,
	"last":             base + 0x5ffb, // its first five bytes end with the page
	"beyond":           base + 0x6ffc, // and these do not
	"msleep":           base + 0x7000,
	"machine_kexec":    base + 0x7100,
	"tsc_khz":          base + 0x1a00,
	"set_next_event":   base + 0x2100,
	"runqueues":        0x100, // per CPU
	"__preempt_count":  0x200, // per CPU
	"pcpu_hot":         0x300, // per CPU

	"preempt_dynamic_mode": base + 0x1900,
}

const kthreadd = 0xffff888000001000

// fakeGuest is a guest with two vCPUs and little memory.
type fakeGuest struct {
	mem     []byte
	rip     [2]uint64
	masked  int // looks at which interrupts are off
	stalled bool

	unwatched, mishandled bool // the monitor
	stay                  bool // vCPUs loop
	busy                  int  // reads at which a lock looks held
	paused                int
	wild                  int // writes of a fault while the guest ran
	nmis                  []int
	asked                 []beat.Request

	now     int64
	onSleep func() // after each sleep
	slower  time.Duration
	capped  int
	tools   fakeToolstack
	onRead  func(gpa uint64) // before each read

	offsets            map[string]uint64 // of fields that are not where the others are
	without            []string          // symbols and fields that are not there
	caves              map[string]uint64 // symbols that other guests lack
	movedFrom, movedTo uint64            // a page that is elsewhere in physical memory

	noSymbols, unmapped, stuck, noGo, noStop bool
}

func newFake() *fakeGuest {
	g := &fakeGuest{mem: make([]byte, 0x10000)}
	g.tools.uses = Resources{VCPUs: len(g.rip), Memory: fakeMemory}
	g.tools.wants = g.tools.uses
	g.set("__per_cpu_offset", words(base+perCPUBase, base+perCPUBase+perCPUStep))
	g.set("kthreadd_task", words(kthreadd))
	g.set("set_next_event", []byte{0xf3, 0x0f, 0x1e, 0xfa})
	g.set("kernel_wait4", []byte{0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0, 0})
	return g
}

func words(w ...uint64) (b []byte) {
	for _, w := range w {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func (g *fakeGuest) set(symbol string, b []byte) { copy(g.mem[symbols[symbol]-base:], b) }
func (g *fakeGuest) get(symbol string, n int) []byte {
	at := symbols[symbol] - base
	return g.mem[at : at+uint64(n)]
}

// check finds what no injection may leave behind.
func (g *fakeGuest) check(t *testing.T) {
	t.Helper()
	if !g.noGo && g.paused != 0 {
		t.Errorf("%d pauses left open", g.paused)
	}
	if g.wild != 0 {
		t.Errorf("%d writes into the running guest", g.wild)
	}
}

func (g *fakeGuest) Symbol(name string) (uint64, error) {
	va, ok := symbols[name]
	if cave, is := g.caves[name]; is {
		va, ok = cave, true
	}
	if !ok || g.noSymbols || slices.Contains(g.without, name) {
		return 0, fmt.Errorf("no symbol %s", name)
	}
	return va, nil
}

func (g *fakeGuest) Offset(typ, field string) (uint64, error) {
	if slices.Contains(g.without, typ+"."+field) {
		return 0, fmt.Errorf("no field %s.%s", typ, field)
	}
	if off, ok := g.offsets[typ+"."+field]; ok {
		return off, nil
	}
	if typ == "rq" && field == "__lock" {
		return rqLock, nil
	}
	return 0, nil
}

func (g *fakeGuest) Translate(va uint64) (uint64, error) {
	if g.unmapped || va < base || va >= base+uint64(len(g.mem)) {
		return 0, fmt.Errorf("%#x is not mapped", va)
	}
	if gpa := va - base; g.movedFrom == 0 || gpa>>12 != g.movedFrom>>12 {
		return gpa, nil
	}
	return g.movedTo + va%4096, nil
}

// move moves a page of memory. The kernel addresses stay.
func (g *fakeGuest) move(from, to uint64) {
	g.movedFrom, g.movedTo = from, to
	copy(g.mem[to:to+4096], g.mem[from:])
	clear(g.mem[from : from+4096])
}

func (g *fakeGuest) ReadPhysical(gpa uint64, b []byte) error {
	if g.onRead != nil {
		g.onRead(gpa)
	}
	copy(b, g.mem[gpa:])
	if g.busy > 0 {
		g.busy--
		b[0] = 1
	}
	return nil
}

func (g *fakeGuest) WritePhysical(gpa uint64, b []byte) error {
	// One byte is written at once, whoever runs, and so are settings that nobody else writes.
	setting := gpa == symbols["panic_on_oops"]-base || gpa == symbols["panic_timeout"]-base
	if g.paused == 0 && len(b) > 1 && !g.noGo && !setting {
		g.wild++
	}
	if !g.stuck {
		copy(g.mem[gpa:], b)
	}
	return nil
}

func (g *fakeGuest) Pause() error {
	if g.noStop {
		return errors.New("cannot pause")
	}
	g.paused++
	return nil
}

func (g *fakeGuest) Unpause() error {
	if g.noGo {
		return errors.New("cannot unpause")
	}
	g.paused--
	return nil
}

func (g *fakeGuest) VCPUs() int { return len(g.rip) }

func (g *fakeGuest) Where(vcpu int) (uint64, bool, error) {
	// Who is in the way goes on, one instruction a look.
	at := g.rip[vcpu]
	if !g.stay {
		g.rip[vcpu]++
	}
	g.masked = max(0, g.masked-1)
	return at, g.masked == 0, nil
}

func (g *fakeGuest) StallDisk(stall bool) error {
	g.stalled = stall
	return nil
}
func (g *fakeGuest) Mishandle(on bool) error {
	if g.unwatched {
		return errors.New("no monitor is attached")
	}
	g.mishandled = on
	return nil
}

func (g *fakeGuest) SlowDisk(by time.Duration) error {
	g.slower = by
	return nil
}

func (g *fakeGuest) Size(function string) (uint64, error) {
	if function == "set_next_event" {
		return 0, fmt.Errorf("no size of %s", function)
	}
	return 0x40, nil
}

func (g *fakeGuest) Cap(_ context.Context, percent int) error {
	if g.unwatched {
		return errors.New("no such scheduler")
	}
	g.capped = percent
	return nil
}

// fakeToolstack is what the toolstack has done to a fakeGuest.
type fakeToolstack struct {
	did   []string
	fails map[string]error // by the word that did has
	uses  Resources
	wants Resources // what it was asked for last
	deaf  bool      // the guest does nothing that it is asked for
	odd   string    // what it ends with instead
	ended string
}

// tool notes a command.
func (g *fakeGuest) tool(what string, a ...any) error {
	g.tools.did = append(g.tools.did, strings.TrimSpace(what+" "+fmt.Sprintln(a...)))
	return g.tools.fails[what]
}

// follow has the guest do what it was asked to, a step at each sleep.
func (g *fakeGuest) follow() {
	t := &g.tools
	step := func(has *uint64, want, by uint64) {
		switch {
		case *has > want:
			*has -= min(by, *has-want)
		case *has < want:
			*has += min(by, want-*has)
		}
	}
	if n := uint64(t.uses.VCPUs); !t.deaf {
		step(&t.uses.Memory, t.wants.Memory, 8<<20)
		step(&n, uint64(t.wants.VCPUs), 1)
		t.uses.VCPUs = int(n)
	}
}

func (g *fakeGuest) SetVCPUs(_ context.Context, n int) error {
	if g.tools.wants.VCPUs = n; n == 0 {
		g.tools.wants.VCPUs = len(g.rip)
	}
	return g.tool("vcpus", n)
}

// fakeMemory is what a fakeGuest was made with, in the eyes of the toolstack.
const fakeMemory = 160 << 20

func (g *fakeGuest) SetMemory(_ context.Context, mib int) error {
	if g.tools.wants.Memory = uint64(mib) << 20; mib == 0 {
		g.tools.wants.Memory = fakeMemory
	}
	return g.tool("memory", mib)
}

func (g *fakeGuest) Resources() (Resources, error)    { return g.tools.uses, g.tools.fails["resources"] }
func (g *fakeGuest) Checkpoint(context.Context) error { return g.tool("checkpoint") }
func (g *fakeGuest) Save(context.Context) error       { return g.tool("save") }
func (g *fakeGuest) Restore(_ context.Context, later time.Duration) error {
	return g.tool("restore", later)
}

func (g *fakeGuest) End(_ context.Context, how Ending) error {
	if g.tools.ended = string(how); g.tools.odd != "" {
		g.tools.ended = g.tools.odd
	}
	return g.tool("end", how)
}

func (g *fakeGuest) Ended() (string, error) {
	if g.tools.deaf {
		return "", g.tools.fails["ended"]
	}
	return g.tools.ended, g.tools.fails["ended"]
}

func (g *fakeGuest) CapControl(_ context.Context, percent int) error {
	return g.tool("cap-dom0", percent)
}
func (g *fakeGuest) FillControl(left int) error                   { return g.tool("fill-dom0", left) }
func (g *fakeGuest) BuildOthers(_ context.Context, on bool) error { return g.tool("build", on) }

func (g *fakeGuest) FailDisk(fail bool) error { return g.tool("fail-disk", fail) }

func (g *fakeGuest) NMI(_ context.Context, vcpu int) error {
	g.nmis = append(g.nmis, vcpu)
	return nil
}

func (g *fakeGuest) Ask(_ context.Context, e beat.Request) error {
	g.asked = append(g.asked, e)
	switch e {
	case beat.Offline:
		g.tools.wants.VCPUs--
	case beat.Online:
		g.tools.wants.VCPUs++
	}
	return nil
}

func (g *fakeGuest) Now() int64 { return g.now }

func (g *fakeGuest) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.now += int64(d)
	g.follow()
	if g.onSleep != nil {
		g.onSleep()
	}
	return ctx.Err()
}
