//go:build xen && cgo

package xenctrl

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"hangbench/cgo/require"
)

// These tests run in a Xen control domain beside a guest whose PID 1 is this project's,
// which has a heartbeat. TestBinding of bench/labhost runs them in the lab's dom0. For
// another dom0 build them with go test -tags xen -c and run the program with -guest NAME.

var (
	guestName = flag.String("guest", "", "`name` of the guest for the tests TestGuest*")
	guestVA   = flag.Uint64("va", 0, "kernel virtual `address` of an instruction that the guest executes all the time "+
		"(0: where the guest is when the test begins)")
)

// guest is the guest of the tests.
type guest struct {
	Domain
	x    *Xen
	beat *Mapping
	va   uint64
	gfn  uint64 // of va
}

func (g *guest) word(off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&g.beat.Bytes()[off]))
}

// Words of the heartbeat page (guests/beat).
const (
	beatWanted = 8
	beatCPU0   = 64
)

func openGuest(t *testing.T) *guest {
	t.Helper()
	if *guestName == "" {
		require.Missing(t, require.Guest, "there is no guest: run the test in a Xen control domain, with -guest NAME")
	}
	x, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id, err := s.DomainByName(*guestName)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Read(DomainPath(id) + "/data/hangbench")
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{Domain: x.Domain(id), x: x}
	for f := range strings.FieldsSeq(v) {
		if gfn, ok := strings.CutPrefix(f, "gfn="); ok {
			n, err := strconv.ParseUint(gfn, 0, 64)
			if err != nil {
				t.Fatal(err)
			}
			if g.beat, err = g.Map([]uint64{n}, ReadWrite); err != nil {
				t.Fatal(err)
			}
		}
	}
	if g.beat == nil {
		t.Fatalf("no page frame in %q", v)
	}
	g.word(beatWanted).Store(1) // busy
	g.alive(t)
	var r Registers
	g.va = *guestVA
	for deadline := time.Now().Add(30 * time.Second); ; {
		if err := g.Registers(0, &r); err != nil {
			t.Fatal(err)
		}
		if r.CPL() == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the guest never was in its kernel")
		}
	}
	if g.va == 0 {
		g.va = r.RIP
	}
	if g.gfn, err = g.walk(r.CR3, g.va); err != nil {
		t.Fatal(err)
	}
	t.Logf("guest %d, trap at %#x in gfn %#x", id, g.va, g.gfn)
	t.Cleanup(func() {
		g.word(beatWanted).Store(0)
		if err := g.beat.Close(); err != nil {
			t.Error(err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// walk translates a virtual address through four levels of page tables.
func (g *guest) walk(cr3, va uint64) (gfn uint64, err error) {
	table := cr3
	for shift := 39; shift >= 12; shift -= 9 {
		m, err := g.Map([]uint64{table & (1<<52 - 1) / PageSize}, ReadOnly)
		if err != nil {
			return 0, err
		}
		i := va >> shift & 511
		e := le64(m.Bytes()[i*8:])
		if err := m.Close(); err != nil {
			return 0, err
		}
		if e&1 == 0 {
			return 0, fmt.Errorf("%#x is not mapped", va)
		}
		if shift == 12 || e&(1<<7) != 0 {
			mask := uint64(1)<<shift - 1
			return (e&(1<<52-1)&^mask | va&mask) / PageSize, nil
		}
		table = e
	}
	panic("unreachable")
}

// alive waits until the guest's heartbeat runs.
func (g *guest) alive(t *testing.T) {
	t.Helper()
	start := g.word(beatCPU0).Load()
	deadline := time.Now().Add(20 * time.Second)
	for ; g.word(beatCPU0).Load() < start+3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			v, _ := g.VCPU(0)
			var r Registers
			g.Registers(0, &r)
			t.Fatalf("the guest does not beat any more: %+v rip %#x", v, r.RIP)
		}
	}
}

func TestGuestState(t *testing.T) {
	g := openGuest(t)
	v, err := g.x.Version()
	if err != nil || v.Major < 4 || v.Capabilities == "" || v.CommandLine == "" {
		t.Errorf("version %+v %v", v, err)
	}
	t.Logf("Xen %v, %q", v, v.CommandLine)
	n, _, err := g.x.hv.CPUs()
	if err != nil || n < 1 {
		t.Errorf("%d CPUs, %v", n, err)
	}
	all, err := g.x.Domains()
	if err != nil || len(all) < 2 || all[0].ID != 0 || all[0].HVM {
		t.Errorf("%+v %v", all, err)
	}
	info, err := g.Info()
	if err != nil || !info.HVM || info.VCPUs < 1 || info.Pages == 0 || info.Paused || info.Shutdown ||
		info.CPUTimeNS == 0 {
		t.Errorf("%+v %v", info, err)
	}
	max, err := g.MaxGFN()
	if err != nil || max < 1000 {
		t.Errorf("max gfn %#x, %v", max, err)
	}
	t.Logf("%+v, max gfn %#x", info, max)
	if _, err := g.x.Domain(0x7000).Info(); !errors.Is(err, ErrNoDomain) {
		t.Errorf("a domain that is none: %v", err)
	}
	if _, err := g.VCPU(0); err != nil {
		t.Error(err)
	}
	if _, err := g.VCPU(99); err == nil {
		t.Error("vcpu 99 exists")
	}
	var r Registers
	if err := g.Registers(99, &r); !errors.Is(err, ErrNotExist) {
		t.Errorf("registers of vcpu 99: %v", err)
	}
	// A paused guest stands still.
	if err := g.Pause(); err != nil {
		t.Fatal(err)
	}
	if info, err := g.Info(); err != nil || !info.Paused {
		t.Errorf("paused: %+v %v", info, err)
	}
	var again Registers
	if err := errors.Join(g.Registers(0, &r), g.Registers(0, &again)); err != nil {
		t.Error(err)
	}
	beats := g.word(beatCPU0).Load()
	time.Sleep(300 * time.Millisecond)
	if r.RIP != again.RIP || r.CR3 == 0 || r.EFER&(1<<10) == 0 || g.word(beatCPU0).Load() != beats {
		t.Errorf("paused, and it moves: rip %#x %#x, efer %#x", r.RIP, again.RIP, r.EFER)
	}
	t.Logf("registers %+v", r)
	if err := g.Unpause(); err != nil {
		t.Fatal(err)
	}
	g.alive(t)
	// A hole cannot be mapped, the page beside it can.
	m, err := g.Map([]uint64{g.gfn, max + 1000}, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	if m.Page(0) == nil || m.Err(1) == nil || m.Bytes() != nil {
		t.Errorf("hole: %v %v", m.Err(0), m.Err(1))
	}
	t.Logf("mapping a hole: %v", m.Err(1))
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.Map([]uint64{max + 1000}, ReadOnly); err == nil {
		t.Error("a hole was mapped")
	}
	// Paused for a state of one instant, the hot page's code is there.
	if mon, err := g.EnableMonitor(); err != nil {
		t.Error(err)
	} else {
		if _, err := g.EnableMonitor(); !errors.Is(err, ErrBusy) {
			t.Errorf("second monitor: %v", err)
		} else {
			t.Log(err)
		}
		if err := mon.Disable(); err != nil {
			t.Error(err)
		}
	}
	g.alive(t)
}

// loop answers events with f until there were want of them.
func (g *guest) loop(t *testing.T, m *Monitor, want int, f func(*Event, *Response)) (counts [NumReasons]int) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ev Event
	start := time.Now()
	total := 0
	for total < want {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d of %d events in %v, ring %+v", total, want, time.Since(start), m.Stats())
		}
		if _, err := m.Wait(100 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for m.Next(&ev) {
			counts[ev.Reason]++
			total++
			rsp := ev.Response()
			f(&ev, &rsp)
			if err := m.Respond(&rsp); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Err(); err != nil {
			t.Fatal(err)
		}
	}
	el := time.Since(start)
	t.Logf("%d events in %v: %.0f/s; %+v", total, el.Round(time.Millisecond), float64(total)/el.Seconds(), m.Stats())
	return counts
}

// events is the number of events in each test of a loop.
const events = 400

func (g *guest) monitor(t *testing.T) *Monitor {
	t.Helper()
	m, err := g.EnableMonitor()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestGuestCR3(t *testing.T) {
	g := openGuest(t)
	m := g.monitor(t)
	must(t, m.WriteCtrlReg(CR3, true, CtrlRegOptions{Sync: true, OnChange: true}))
	c := g.loop(t, m, 40, func(e *Event, r *Response) {
		if e.Reason != ReasonWriteCtrlReg || e.CtrlReg != CR3 || e.NewValue == e.OldValue || e.Regs.CPL() != 0 {
			t.Errorf("%+v", e)
		}
	})
	must(t, m.WriteCtrlReg(CR3, false, CtrlRegOptions{}))
	must(t, m.Disable())
	if c[ReasonWriteCtrlReg] < 40 {
		t.Errorf("%v", c)
	}
	g.alive(t)
}

// TestGuestTrap removes the execute permission of a page of the guest's kernel, and
// lets the guest pass the page in every possible way.
func TestGuestTrap(t *testing.T) {
	g := openGuest(t)
	check := func(t *testing.T, e *Event) {
		t.Helper()
		if e.Reason == ReasonMemAccess && (e.GFN != g.gfn || e.Access&TouchedX == 0 || e.Regs.RIP%PageSize != e.Offset) {
			t.Errorf("%+v", e)
		}
	}
	t.Run("step", func(t *testing.T) {
		m := g.monitor(t)
		must(t, m.SingleStep(true))
		must(t, g.SetMemAccess(g.gfn, 1, AccessRW))
		if a, err := g.MemAccess(g.gfn); err != nil || a != AccessRW {
			t.Errorf("access %v %v", a, err)
		}
		c := g.loop(t, m, events, func(e *Event, r *Response) {
			check(t, e)
			access := AccessRWX
			if e.Reason == ReasonSingleStep {
				access = AccessRW
			}
			r.Flags |= FlagToggleSingleStep
			must(t, g.SetMemAccess(g.gfn, 1, access))
		})
		must(t, g.SetMemAccess(g.gfn, 1, AccessRWX))
		must(t, m.Disable())
		if d := c[ReasonMemAccess] - c[ReasonSingleStep]; d < 0 || d > 1 {
			t.Errorf("%v", c)
		}
		g.alive(t)
	})
	t.Run("emulate", func(t *testing.T) {
		m := g.monitor(t)
		must(t, g.SetMemAccess(g.gfn, 1, AccessRW))
		g.loop(t, m, events, func(e *Event, r *Response) {
			check(t, e)
			r.Flags |= FlagEmulate
		})
		must(t, g.SetMemAccess(g.gfn, 1, AccessRWX))
		must(t, m.Disable())
		g.alive(t)
	})
	views := func(t *testing.T) View {
		must(t, g.SetAltp2m(true))
		if on, err := g.x.hv.Altp2m(g.id); err != nil || !on {
			t.Errorf("altp2m on: %v %v", on, err)
		}
		v, err := g.CreateView(AccessRWX)
		must(t, err)
		must(t, g.SetViewAccess(v, g.gfn, AccessRW))
		if a, err := g.ViewAccess(v, g.gfn); err != nil || a != AccessRW {
			t.Errorf("access in the view: %v %v", a, err)
		}
		if a, err := g.MemAccess(g.gfn); err != nil || a != AccessRWX {
			t.Errorf("access in the host's view: %v %v", a, err)
		}
		must(t, g.SwitchView(v))
		if got, err := g.VCPUView(0); err != nil || got != v {
			t.Errorf("vcpu 0 is in view %d, %v", got, err)
		}
		return v
	}
	end := func(t *testing.T, m *Monitor, v View) {
		must(t, m.Disable())
		if got, err := g.VCPUView(0); err != nil || got != 0 {
			t.Errorf("after Disable vcpu 0 is in view %d, %v", got, err)
		}
		must(t, g.DestroyView(v))
		must(t, g.SetAltp2m(false))
		g.alive(t)
	}
	t.Run("altp2m", func(t *testing.T) {
		m := g.monitor(t)
		must(t, m.SingleStep(true))
		v := views(t)
		c := g.loop(t, m, events, func(e *Event, r *Response) {
			check(t, e)
			r.Flags |= FlagAlternateP2M | FlagToggleSingleStep
			if e.Reason == ReasonSingleStep {
				r.View = v
			} else if e.View != v {
				t.Errorf("%+v", e)
			}
		})
		end(t, m, v)
		if d := c[ReasonMemAccess] - c[ReasonSingleStep]; d < 0 || d > 1 {
			t.Errorf("%v", c)
		}
	})
	// Ends with a fast step in flight, more likely than not.
	t.Run("altp2m-fast", func(t *testing.T) {
		for range 5 {
			m := g.monitor(t)
			must(t, m.SingleStep(true))
			v := views(t)
			c := g.loop(t, m, events/4, func(e *Event, r *Response) {
				check(t, e)
				r.Flags |= FlagAlternateP2M | FlagFastSingleStep
				r.StepView = v
			})
			end(t, m, v)
			if c[ReasonMemAccess] < events/4 || c[ReasonSingleStep] != 0 {
				t.Errorf("%v", c)
			}
		}
	})
}

func TestGuestBreakpoint(t *testing.T) {
	g := openGuest(t)
	code, err := g.Map([]uint64{g.gfn}, ReadWrite)
	must(t, err)
	at := &code.Bytes()[g.va%PageSize]
	old := *at
	m := g.monitor(t)
	must(t, m.SoftwareBreakpoint(true))
	must(t, m.SingleStep(true))
	*at = 0xcc
	c := g.loop(t, m, 40, func(e *Event, r *Response) {
		if e.Reason == ReasonSoftwareBreakpoint {
			if e.Regs.RIP != g.va || e.GFN != g.gfn || e.InsnLen != 1 {
				t.Errorf("%+v", e)
			}
			*at = old
		} else {
			*at = 0xcc
		}
		r.Flags |= FlagToggleSingleStep
	})
	must(t, g.Pause())
	*at = old
	must(t, g.Unpause())
	must(t, m.Disable())
	must(t, code.Close())
	if c[ReasonSoftwareBreakpoint] < 20 {
		t.Errorf("%v", c)
	}
	g.alive(t)
}

func TestGuestInterrupt(t *testing.T) {
	g := openGuest(t)
	m := g.monitor(t)
	go func() {
		time.Sleep(50 * time.Millisecond)
		m.Interrupt()
	}()
	for {
		w, err := m.Wait(-1) // may return early, not for ever
		must(t, err)
		if w&WakeInterrupt != 0 {
			break
		}
	}
	if w, err := m.Wait(time.Millisecond); err != nil || w&WakeInterrupt != 0 {
		t.Errorf("Wait after the interrupt: %v %v", w, err)
	}
	must(t, m.Disable())
	g.alive(t)
}

// TestGuestTrace counts the violations of a trapped page twice: as events and
// in the trace.
func TestGuestTrace(t *testing.T) {
	g := openGuest(t)
	for _, altp2m := range []bool{false, true} {
		t.Run(fmt.Sprintf("altp2m=%v", altp2m), func(t *testing.T) {
			m := g.monitor(t)
			must(t, m.SingleStep(true))
			tr, err := g.x.OpenTrace(TraceConfig{Events: TraceHandlers | TraceEntryExit | TraceRunstate})
			must(t, err)
			var v View
			if altp2m {
				must(t, g.SetAltp2m(true))
				v, err = g.CreateView(AccessRWX)
				must(t, err)
				must(t, g.SetViewAccess(v, g.gfn, AccessRW))
				must(t, g.SwitchView(v))
			} else {
				must(t, g.SetMemAccess(g.gfn, 1, AccessRW))
			}
			var (
				classes [NumNPFClasses]int
				exits   = map[ExitReason]int{}
				owners  Owners
				foreign int
				others  []NPF
			)
			see := func(r *Record) {
				owners.Observe(r)
				if reason, _, ok := r.VMExit(); ok {
					exits[reason]++
				}
				if n, ok := r.NPF(); ok {
					access := AccessRWX
					if n.GFN() == g.gfn {
						access = AccessRW
					}
					c := n.Class(access, altp2m)
					classes[c]++
					if c == NPFOther || c == NPFSuperpage {
						others = append(others, n)
					}
					if d, _, ok := owners.Owner(r.CPU); ok && d != g.id {
						foreign++
					}
				}
			}
			c := g.loop(t, m, events, func(e *Event, r *Response) {
				r.Flags |= FlagToggleSingleStep
				stepped := e.Reason == ReasonSingleStep
				switch {
				case altp2m:
					r.Flags |= FlagAlternateP2M
					if stepped {
						r.View = v
					}
				case stepped:
					must(t, g.SetMemAccess(g.gfn, 1, AccessRW))
				default:
					must(t, g.SetMemAccess(g.gfn, 1, AccessRWX))
				}
				must(t, tr.Drain(see))
			})
			// Let nothing happen any more, then count.
			must(t, g.Pause())
			left := int(m.ring.pending())
			must(t, tr.Stop())
			must(t, tr.Drain(see))
			must(t, g.Unpause())
			if !altp2m {
				must(t, g.SetMemAccess(g.gfn, 1, AccessRWX))
			}
			must(t, m.Disable())
			if altp2m {
				must(t, g.DestroyView(v))
				must(t, g.SetAltp2m(false))
			}
			st := tr.Stats()
			must(t, tr.Close())
			for i, n := range classes {
				if n > 0 {
					t.Logf("%v: %d", NPFClass(i), n)
				}
			}
			t.Logf("exits %v, events %v and %d left, trace %+v, others %+v", exits, c, left, st, others)
			if st.Lost != 0 || st.Corrupt != 0 {
				t.Fatalf("the trace lost records: %+v", st)
			}
			got, want := classes[NPFPermission]+classes[NPFPageWalk], c[ReasonMemAccess]
			if got < want || got > want+left {
				t.Errorf("%d violations of permissions in the trace, %d events and %d left in the ring", got, want, left)
			}
			all := 0
			for _, n := range classes {
				all += n
			}
			if all != exits[ExitEPTViolation] {
				t.Errorf("%d records of violations after %d exits for one", all, exits[ExitEPTViolation])
			}
			if foreign != 0 {
				t.Errorf("%d violations of another domain", foreign)
			}
			if altp2m && classes[NPFLazyCopy] == 0 {
				t.Error("no page was copied into the view")
			}
			g.alive(t)
		})
	}
}

// TestGuestRecover kills a monitor in the worst state, twice, and recovers the guest.
func TestGuestRecover(t *testing.T) {
	if mode := os.Getenv("HANGBENCH_TEST_CRASH"); mode != "" {
		crash(t, mode)
	}
	g := openGuest(t)
	for _, mode := range []string{"die", "disable"} {
		t.Run(mode, func(t *testing.T) {
			// It must trap the same page.
			cmd := exec.Command(os.Args[0], "-test.run", "^TestGuestRecover$", "-guest", *guestName,
				"-va", fmt.Sprintf("%#x", g.va))
			cmd.Env = append(os.Environ(), "HANGBENCH_TEST_CRASH="+mode)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != crashCode {
				// The tests after this one need the guest.
				if _, rerr := g.Recover(Leftover{Restricted: []uint64{g.gfn}, Unpause: true}); rerr != nil {
					t.Error(rerr)
				}
				t.Fatalf("the monitor that shall die: %v\n%s", err, out)
			}
			beats := g.word(beatCPU0).Load()
			time.Sleep(500 * time.Millisecond)
			if n := g.word(beatCPU0).Load(); n > beats+1 {
				t.Errorf("the guest still beats (%d, %d): the test tests nothing", beats, n)
			}
			r, err := g.Recover(Leftover{Restricted: []uint64{g.gfn, 1 << 40}})
			must(t, err)
			t.Logf("%+v", r)
			if want := (Recovery{MonitorWasOn: mode == "die", Altp2mWasOn: true, Restricted: 1, AccessReset: 1,
				Answered: true}); r != want {
				t.Errorf("%+v, want %+v", r, want)
			}
			g.alive(t)
			if r, err = g.Recover(Leftover{}); err != nil || r != (Recovery{Answered: true}) {
				t.Errorf("recovered twice: %+v %v", r, err)
			}
			g.alive(t)
			// And it can be monitored again.
			m := g.monitor(t)
			must(t, g.SetMemAccess(g.gfn, 1, AccessRW))
			g.loop(t, m, 20, func(e *Event, r *Response) { r.Flags |= FlagEmulate })
			must(t, g.SetMemAccess(g.gfn, 1, AccessRWX))
			must(t, m.Disable())
			g.alive(t)
		})
	}
}

const crashCode = 42

// crash leaves the guest's vCPU with an event unanswered, single-stepping, in
// a view, and exits.
func crash(t *testing.T, mode string) {
	g := openGuest(t)
	m := g.monitor(t)
	must(t, m.SingleStep(true))
	must(t, g.SetMemAccess(g.gfn, 1, AccessRW))
	must(t, g.SetAltp2m(true))
	v, err := g.CreateView(AccessRWX)
	must(t, err)
	must(t, g.SetViewAccess(v, g.gfn, AccessRW))
	// The step needs a view that shows the page with all permissions. Before Xen 4.19
	// view 0 takes those of the host view, which are restricted.
	open, err := g.CreateView(AccessRWX)
	must(t, err)
	must(t, g.SetViewAccess(open, g.gfn, AccessRWX))
	must(t, g.SwitchView(v))
	take := func(want Reason) (ev Event) {
		for deadline := time.Now().Add(20 * time.Second); !m.Next(&ev); {
			if time.Now().After(deadline) {
				t.Fatalf("no %v event", want)
			}
			_, err := m.Wait(time.Second)
			must(t, err)
		}
		if ev.Reason != want {
			t.Fatalf("%v event, want %v", ev.Reason, want)
		}
		return ev
	}
	ev := take(ReasonMemAccess)
	rsp := ev.Response()
	rsp.Flags |= FlagToggleSingleStep | FlagAlternateP2M // steps, then waits
	rsp.View = open
	must(t, m.Respond(&rsp))
	take(ReasonSingleStep)
	must(t, g.SwitchView(v))
	if mode == "disable" {
		// What a careless monitor does.
		must(t, g.x.hv.DisableMonitor(g.id))
	}
	os.Exit(crashCode)
}

// TestGuestStore makes every call of xenstore, on a node of its own.
func TestGuestStore(t *testing.T) {
	g := openGuest(t)
	s, err := OpenStore()
	must(t, err)
	dir := DomainPath(g.id) + "/data/hangbench-test"
	must(t, s.Write(dir+"/a", "one"))
	must(t, s.Write(dir+"/b", ""))
	if v, err := s.Read(dir + "/a"); err != nil || v != "one" {
		t.Errorf("%q %v", v, err)
	}
	if v, err := s.Read(dir + "/b"); err != nil || v != "" {
		t.Errorf("%q %v", v, err)
	}
	if names, err := s.Directory(dir); err != nil || strings.Join(names, " ") != "a b" {
		t.Errorf("%q %v", names, err)
	}
	must(t, s.Remove(dir))
	if _, err := s.Read(dir + "/a"); !errors.Is(err, ErrNotExist) {
		t.Error(err)
	}
	if _, err := s.Read("a\x00b"); err == nil {
		t.Error("a path with a NUL was read")
	}
	if _, err := s.DomainByName("no such guest"); !errors.Is(err, ErrNoDomain) {
		t.Error(err)
	}
	must(t, s.Close())
}

// TestGuestViews calls the functions of altp2m and permissions that TestGuestTrap does
// not call, and sets registers.
func TestGuestViews(t *testing.T) {
	g := openGuest(t)
	m := g.monitor(t)
	next := g.gfn + 1
	must(t, errors.Join(g.SetMemAccess(g.gfn, 1, AccessRX), g.SetMemAccess(next, 1, AccessR)))
	a, err := g.MemAccess(g.gfn)
	b, err2 := g.MemAccess(next)
	if err := errors.Join(err, err2); err != nil || a != AccessRX || b != AccessR {
		t.Errorf("%v %v %v", a, b, err)
	}
	must(t, g.SetMemAccess(g.gfn, 2, AccessRWX))

	must(t, g.SetAltp2m(true))
	v, err := g.CreateView(AccessRWX)
	must(t, err)
	if _, err := g.ViewAccess(v, next); !errors.Is(err, ErrNoDomain) {
		t.Errorf("permission of a page the view does not hold: %v", err)
	}
	must(t, errors.Join(g.SetViewAccess(v, g.gfn, AccessX), g.SetViewAccess(v, next, AccessRW)))
	a, err = g.ViewAccess(v, g.gfn)
	b, err2 = g.ViewAccess(v, next)
	if err := errors.Join(err, err2); err != nil || a != AccessX || b != AccessRW {
		t.Errorf("%v %v %v", a, b, err)
	}
	must(t, g.ChangeGFN(v, next, g.gfn))
	must(t, g.ChangeGFN(v, next, NoGFN))
	if err := g.DestroyView(v + 1); !errors.Is(err, ErrBusy) {
		t.Errorf("a view that is none: %v", err)
	}
	must(t, g.SwitchView(v))
	must(t, g.Pause())
	if err := g.DestroyView(v); !errors.Is(err, ErrBusy) {
		t.Errorf("a view in use: %v", err)
	}
	must(t, g.SwitchView(0))
	must(t, g.Unpause())
	must(t, g.DestroyView(v))
	must(t, g.SetAltp2m(false))

	must(t, g.SetMemAccess(g.gfn, 1, AccessRW))
	g.loop(t, m, 100, func(e *Event, r *Response) {
		r.Flags |= FlagEmulate | FlagSetRegisters
		r.Regs = &e.Regs
	})
	must(t, g.SetMemAccess(g.gfn, 1, AccessRWX))
	must(t, m.Disable())
	if err := g.SetMemAccess(g.gfn, 1, AccessRW); err == nil {
		t.Error("a permission was set without a monitor")
	} else {
		t.Log(err)
	}
	g.alive(t)
}
