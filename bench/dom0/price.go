package dom0

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"hangbench/bench/price/event"
	"hangbench/bench/price/misses"
	"hangbench/bench/price/tsc"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/beat"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	vmidriver "hangbench/monitor/driver/libvmi"
	"hangbench/monitor/trap"
)

// FindGuest opens a guest that is up already, by its name.
func (h *Host) FindGuest(ctx context.Context, name string) (*Guest, error) {
	domid, err := h.tools.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	g := &Guest{Domid: domid, name: name, host: h}
	text, err := h.store.Read(xc.DomainPath(xc.DomID(domid)) + "/" + beat.Node)
	if err != nil {
		return nil, fmt.Errorf("guest %s has not announced itself: %w", name, err)
	}
	ann, err := beat.ParseAnnouncement(text)
	if err != nil {
		return nil, err
	}
	if g.profile, err = findProfile(h.Guests, ann.Release); err != nil {
		return nil, err
	}
	if err := g.meet(ctx); err != nil {
		return nil, fmt.Errorf("guest %s: %w", name, err)
	}
	return g, nil
}

// findProfile looks for the profile of a kernel release below the folder of
// guest kernels.
func findProfile(guests, release string) (*kernel.Profile, error) {
	files, err := filepath.Glob(filepath.Join(guests, "*", place.Profile))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("guest kernels: %w", err)
		}
		p, err := kernel.ReadProfile(raw)
		if err != nil {
			return nil, fmt.Errorf("guest kernel %s: %w", f, err)
		}
		if p.Release == release {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no guest kernel below %s has the release %s that the guest runs", guests, release)
}

// Price is a guest as bench/price/event and bench/price/misses measure it.
type Price struct {
	g    *Guest
	site trap.Site
	// Yardstick is the path of the C event loop.
	Yardstick string
}

// NewPrice prepares a guest for bench/price/event.
func NewPrice(g *Guest, yardstick string) (*Price, error) {
	site, err := g.site()
	if err != nil {
		return nil, err
	}
	return &Price{g: g, site: site, Yardstick: yardstick}, nil
}

// Release is the guest kernel's release.
func (p *Price) Release() string { return p.g.Release }

// Close ends the guest's workload and lets go of it; it stays up.
func (p *Price) Close() error {
	p.g.page.Want(beat.Idle)
	return p.g.Close()
}

// VCPUs is how many vCPUs the guest has.
func (p *Price) VCPUs() int { return p.g.driver.VCPUs() }

// SetBusy starts or ends the guest's busy workload and waits until it has.
func (p *Price) SetBusy(ctx context.Context, busy bool) error {
	want := beat.Idle
	if busy {
		want = beat.Busy
	}
	p.g.page.Want(want)
	work := p.g.page.Total(p.g.cpus).Work
	for end := now() + int64(10*time.Second); !p.g.page.Runs(want) || busy && p.g.page.Total(p.g.cpus).Work == work; {
		if now() > end {
			return fmt.Errorf("the guest did not take up its workload")
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return sleep(ctx, beat.Period)
}

// Look reads the accounts.
func (p *Price) Look() (event.Account, error) {
	info, err := p.g.host.xen.Domain(0).Info()
	if err != nil {
		return event.Account{}, fmt.Errorf("read dom0's CPU time: %w", err)
	}
	c := p.g.page.Total(p.g.cpus)
	return event.Account{NS: now(), Cycles: tsc.Read(), Dom0NS: int64(info.CPUTimeNS), Work: c.Work, Beats: c.Beats}, nil
}

// Sleep waits.
func (p *Price) Sleep(ctx context.Context, d time.Duration) error { return sleep(ctx, d) }

// config is a session that answers every event and observes next to nothing: the
// loop alone is measured. The one observation that each session begins with falls
// into the window; without a Kernel it looks at no task.
func (p *Price) config(m trap.Mechanism, d driver.Driver) monitor.Config {
	return monitor.Config{
		Driver: d, Mechanism: m, Site: p.site, Symbols: p.g.watchedKern,
		Thresholds: detect.DefaultThresholds(), Sample: 24 * time.Hour, Passes: -1, Now: now,
	}
}

type session struct{ s *journaled }

func (s session) Stop() (event.Counts, error) {
	c, err := s.s.Detach()
	return event.Counts{Events: c.Accesses + c.Steps + c.CR3, Samples: c.Samples, BackedOut: c.BackedOut}, err
}

// Ours attaches the project's own loop.
func (p *Price) Ours(_ context.Context, mechanism string) (event.Loop, error) {
	return p.ours(mechanism, p.g.watched)
}

func (p *Price) ours(mechanism string, d driver.Driver) (event.Loop, error) {
	m, err := trap.Find(mechanism)
	if err != nil {
		return nil, err
	}
	s, err := p.g.attachWith(p.config(m, d))
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

// Poll attaches a monitor that samples.
func (p *Price) Poll(_ context.Context, every time.Duration) (event.Sampler, error) {
	m, err := trap.Find("poll")
	if err != nil {
		return nil, err
	}
	s := &sampler{}
	c := p.config(m, pricedDriver{p.g.watched, s})
	c.Sample, c.Kernel = every, pricedKernel{p.g.watchedKern, s}
	c.Record = func(*detect.Observation) { s.samples.Add(1) }
	if s.s, err = p.g.attachWith(c); err != nil {
		return nil, err
	}
	return s, nil
}

// sampler is a session that samples, and what its parts took.
type sampler struct {
	session
	samples                              atomic.Uint64
	state, registers, queue, look, stack atomic.Uint64
}

func (s *sampler) Samples() uint64 { return s.samples.Load() }

func (s *sampler) Spent() map[string]uint64 {
	return map[string]uint64{
		"domain and vCPU state": s.state.Load(), "registers": s.registers.Load(),
		"run queues": s.queue.Load(), "task list": s.look.Load(), "stacks": s.stack.Load(),
	}
}

// since adds the cycles since start to a part.
func since(part *atomic.Uint64, start uint64) { part.Add(tsc.Read() - start) }

// pricedDriver takes the time of what a sample asks Xen.
type pricedDriver struct {
	watched
	s *sampler
}

func (d pricedDriver) State(vcpus []driver.VCPUState) (driver.DomainState, error) {
	defer since(&d.s.state, tsc.Read())
	return d.watched.State(vcpus)
}

func (d pricedDriver) Registers(i int, r *driver.Registers) error {
	defer since(&d.s.registers, tsc.Read())
	return d.watched.Registers(i, r)
}

// pricedKernel takes the time of what a sample reads in the guest.
type pricedKernel struct {
	monitor.Kernel
	s *sampler
}

func (k pricedKernel) RunQueue(cpu int, q *detect.RunQueue) bool {
	defer since(&k.s.queue, tsc.Read())
	return k.Kernel.RunQueue(cpu, q)
}

func (k pricedKernel) Inspect(out *detect.Kernel) {
	defer since(&k.s.look, tsc.Read())
	k.Kernel.Inspect(out)
}

func (k pricedKernel) Callers(names []string, rsp uint64) []string {
	defer since(&k.s.stack, tsc.Read())
	return k.Kernel.Callers(names, rsp)
}

// Reads measures reading guest memory, and checks that LibVMI reads what we do.
func (p *Price) Reads() (*event.Reads, error) {
	var found, reported string
	if d := p.g.vmi; d != nil {
		found, reported = "ok", "ok"
		if err := vmidriver.Check(p.g.name, layout{p.g.profile}, p.g.kern); err != nil {
			found = err.Error()
		}
		if err := d.CheckEvents(p.site.GFN); err != nil {
			reported = err.Error()
		}
	}
	const each = 101
	gpa := p.site.GFN << 12
	var b [8]byte
	var all [2][]uint64
	for i := range 2 * each {
		if i%2 == 1 {
			if err := p.g.watched.Forget(); err != nil {
				return nil, err
			}
		}
		start := tsc.Read()
		if err := p.g.watched.ReadPhysical(gpa, b[:]); err != nil {
			return nil, err
		}
		// The read before an even one has mapped the page.
		if n := tsc.Read() - start; i > 1 {
			all[i%2] = append(all[i%2], n)
		}
	}
	for i := range all {
		slices.Sort(all[i])
	}
	stale, err := p.stale()
	return &event.Reads{Mapped: all[0][len(all[0])/2], Unmapped: all[1][len(all[1])/2], Stale: stale, Kernel: found, Frame: reported}, err
}

// hole returns the number of a frame that the guest does not have, with frames
// above it: LibVMI reads nothing above those that were there when it opened the
// guest.
func hole(dom xc.Domain) (uint64, error) {
	top, err := dom.MaxGFN()
	if err != nil {
		return 0, err
	}
	const tries = 4096
	for gfn := top; gfn > 0 && top-gfn < tries; gfn-- {
		m, err := dom.Map([]uint64{gfn}, xc.ReadOnly)
		if err != nil {
			return gfn, nil // nothing there
		}
		there := m.Page(0) != nil
		if err := m.Close(); err != nil {
			return 0, err
		}
		if !there {
			return gfn, nil
		}
	}
	return 0, fmt.Errorf("none of the %d frames below %#x is a hole", tries, top)
}

// stale gives the guest a frame, takes it away and gives it another one in its
// place, of which the guest knows nothing, and sees what the driver reads there
// before and after it lets go of its pages.
func (p *Price) stale() (stale bool, err error) {
	dom := p.g.host.xen.Domain(xc.DomID(p.g.Domid))
	gfn, err := hole(dom)
	if err != nil {
		return false, err
	}
	there := false
	defer func() {
		if there {
			err = errors.Join(err, p.g.watched.Forget(), dom.RemoveFrame(gfn))
		}
	}()
	var b [8]byte
	for i, text := range []string{"the old ", "the new "} {
		if i > 0 {
			if err := dom.RemoveFrame(gfn); err != nil {
				return false, fmt.Errorf("take a frame from the guest: %w", err)
			}
			there = false
		}
		if err := dom.AddFrame(gfn); err != nil {
			return false, fmt.Errorf("give the guest a frame: %w", err)
		}
		there = true
		m, err := dom.Map([]uint64{gfn}, xc.ReadWrite)
		if err != nil {
			return false, err
		}
		copy(m.Bytes(), text)
		if err := m.Close(); err != nil {
			return false, err
		}
		if i == 0 {
			// From here on the driver may take it that this frame exists.
			if err := p.g.watched.Forget(); err != nil {
				return false, err
			}
		}
		if err := p.g.watched.ReadPhysical(gfn<<12, b[:]); err != nil {
			return false, fmt.Errorf("read a frame that was given to the guest: %w", err)
		}
		if got := string(b[:]); i == 0 && got != text {
			return false, fmt.Errorf("a frame that was given to the guest shows %q, not %q", got, text)
		} else if i == 1 {
			stale = got != text
		}
	}
	if err := p.g.watched.Forget(); err != nil {
		return stale, err
	}
	if err := p.g.watched.ReadPhysical(gfn<<12, b[:]); err != nil {
		return stale, err
	}
	if got := string(b[:]); got != "the new " {
		return stale, fmt.Errorf("the driver let go of its pages and still shows %q where the guest has \"the new \"", got)
	}
	return stale, nil
}

// Watch attaches a monitor as trials have it, for bench/price/misses, with so many
// passes.
func (p *Price) Watch(mechanism string, passes int, sample time.Duration) (misses.Watcher, error) {
	m, err := trap.Find(mechanism)
	if err != nil {
		return nil, err
	}
	s, err := p.g.attachAs(monitor.Config{Mechanism: m, Thresholds: detect.DefaultThresholds(), Sample: sample, Passes: passes})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// yardstickLimit ends a C loop whose parent died.
const yardstickLimit = 600

type process struct {
	cmd    *exec.Cmd
	out    *json.Decoder
	stderr *strings.Builder
	result struct {
		Events uint64     `json:"events"`
		Stamps [][]uint64 `json:"stamps"`
	}
}

// C starts the yardstick and waits until it is armed.
func (p *Price) C(ctx context.Context, mechanism string) (event.Loop, error) {
	return p.c(ctx, mechanism, 0)
}

func (p *Price) c(ctx context.Context, mechanism string, stamps int) (*process, error) {
	cmd := exec.CommandContext(ctx, p.Yardstick, mechanism, strconv.Itoa(p.g.Domid), strconv.FormatUint(p.site.GFN, 16),
		strconv.FormatUint(p.site.VA>>12, 16), strconv.Itoa(yardstickLimit), strconv.Itoa(stamps))
	// Not killed: it has to let go of the guest.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	// It has no journal: it lets go of the guest itself when this process is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stderr := &strings.Builder{}
	cmd.Stderr = stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the yardstick: %w", err)
	}
	q := &process{cmd: cmd, out: json.NewDecoder(pipe), stderr: stderr}
	line := make([]byte, len("armed\n"))
	for n := 0; n < len(line); {
		m, err := pipe.Read(line[n:])
		if n += m; err != nil {
			return nil, errors.Join(fmt.Errorf("yardstick: it was not armed: %s", strings.TrimSpace(stderr.String())), cmd.Wait())
		}
	}
	return q, nil
}

func (q *process) Stop() (event.Counts, error) {
	if err := q.cmd.Process.Signal(os.Interrupt); err != nil {
		return event.Counts{}, fmt.Errorf("stop the yardstick: %w", err)
	}
	derr := q.out.Decode(&q.result)
	if err := q.cmd.Wait(); err != nil {
		return event.Counts{}, fmt.Errorf("yardstick: %w: %s", err, strings.TrimSpace(q.stderr.String()))
	}
	if derr != nil {
		return event.Counts{}, fmt.Errorf("yardstick: read its result: %w", derr)
	}
	return event.Counts{Events: q.result.Events}, nil
}

// stampedRing takes the time at which the loop waits and works.
type stampedRing struct {
	driver.Ring
	stamps *[]event.Instant
}

func (r stampedRing) stamp(k event.InstantKind) {
	if len(*r.stamps) < cap(*r.stamps) {
		*r.stamps = append(*r.stamps, event.Instant{TSC: tsc.Read(), Kind: k})
	}
}

// stampedPuller is a stampedRing out of which events are taken.
type stampedPuller struct {
	stampedRing
	driver.Puller
}

func (r stampedPuller) Wait(d time.Duration) error {
	r.stamp(event.Sleeps)
	err := r.Puller.Wait(d)
	r.stamp(event.Woke)
	return err
}

// stampedServer is a stampedRing that calls back. It works from the first event
// on.
type stampedServer struct {
	stampedRing
	driver.Server
}

func (r stampedServer) Serve(d time.Duration, handle func(*driver.Event, *driver.Response) error) (int, error) {
	woke := false
	wake := func() {
		if !woke {
			woke = true
			r.stamp(event.Woke)
		}
	}
	r.stamp(event.Sleeps)
	defer wake()
	return r.Server.Serve(d, func(ev *driver.Event, resp *driver.Response) error {
		wake()
		return handle(ev, resp)
	})
}

func (r stampedRing) SetAccess(v driver.View, gfn uint64, a driver.Access) error {
	r.stamp(event.CallBegin)
	defer r.stamp(event.CallEnd)
	return r.Ring.SetAccess(v, gfn, a)
}

// Flush is a system call like Wait, which the loop begins with the answers.
func (r stampedPuller) Flush() error {
	r.stamp(event.CallBegin)
	defer r.stamp(event.CallEnd)
	return r.Puller.Flush()
}

type stampedDriver struct {
	driver.Driver
	stamps *[]event.Instant
}

func (d stampedDriver) Listen() (driver.Ring, error) {
	ring, err := d.Driver.Listen()
	if err != nil {
		return nil, err
	}
	r := stampedRing{ring, d.stamps}
	switch x := ring.(type) {
	case driver.Puller:
		return stampedPuller{r, x}, nil
	case driver.Server:
		return stampedServer{r, x}, nil
	}
	return r, nil
}

// maxStamps bounds the instants taken in one timed pass.
const maxStamps = 1 << 16

// tracePages is the size of the trace buffer for a timed pass, which is not
// drained meanwhile: 4 MiB.
const tracePages = 1024

// Timed runs one loop for a while with everything on that takes times, and
// returns the instants.
func (p *Price) Timed(ctx context.Context, mechanism string, ours bool, d time.Duration) (all []event.Instant, lost uint64, err error) {
	stamps := make([]event.Instant, 0, maxStamps)
	var l event.Loop
	var q *process
	if ours {
		if l, err = p.ours(mechanism, stampedDriver{p.g.watched, &stamps}); err != nil {
			return nil, 0, err
		}
	} else {
		if q, err = p.c(ctx, mechanism, maxStamps/4); err != nil {
			return nil, 0, err
		}
		l = q
	}
	// The main classes and the one subclass of these are a mask that lets
	// nothing else through.
	t, err := p.g.host.xen.OpenTrace(xc.TraceConfig{Pages: tracePages, Events: xc.TraceEntryExit | xc.TraceRunstate | xc.TracePVEntry})
	if err != nil {
		_, serr := l.Stop()
		return nil, 0, errors.Join(err, serr)
	}
	err = sleep(ctx, d)
	err = errors.Join(err, t.Stop())
	_, serr := l.Stop()
	guest := xc.DomID(p.g.Domid)
	err = errors.Join(err, serr, t.Drain(func(r *xc.Record) {
		if in, ok := instant(r, guest); ok && len(all) < 1<<20 {
			all = append(all, in)
		}
	}))
	lost = t.Stats().Lost
	if err = errors.Join(err, t.Close()); err != nil {
		return nil, lost, fmt.Errorf("timed pass: %w", err)
	}
	if q != nil {
		for _, s := range q.result.Stamps {
			if len(s) == 4 {
				stamps = append(stamps, event.Instant{TSC: s[0], Kind: event.Woke}, event.Instant{TSC: s[0], Kind: event.CallBegin},
					event.Instant{TSC: s[1], Kind: event.CallEnd}, event.Instant{TSC: s[2], Kind: event.Sleeps})
			}
		}
	}
	return append(all, stamps...), lost, nil
}

// instant makes an instant of a trace record. Exits and entries are of the one
// guest that runs.
func instant(r *xc.Record, guest xc.DomID) (event.Instant, bool) {
	in := event.Instant{TSC: r.TSC}
	if !r.HasTSC {
		return in, false
	}
	if _, _, ok := r.VMExit(); ok {
		in.Kind = event.GuestExit
		return in, true
	}
	if r.IsVMEntry() {
		in.Kind = event.GuestEntry
		return in, true
	}
	if h, _, ok := r.Hypercall(); ok {
		in.Kind, in.Name = event.Hypercall, h.String()
		return in, true
	}
	d, _, from, to, ok := r.Runstate()
	switch {
	case !ok:
	case d == 0 && to == xc.RunstateRunning:
		in.Kind = event.Dom0Runs
		return in, true
	case d == 0 && from == xc.RunstateRunning:
		in.Kind = event.Dom0Stops
		return in, true
	case d == guest && to == xc.RunstateRunning:
		in.Kind = event.GuestRuns
		return in, true
	case d == guest && from == xc.RunstateRunning && to == xc.RunstateOffline:
		in.Kind = event.GuestStops
		return in, true
	case d == guest && from == xc.RunstateOffline:
		in.Kind = event.GuestReady
		return in, true
	}
	return in, false
}
