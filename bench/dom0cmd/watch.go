package dom0cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/clock"
	"hangbench/bench/dom0/recovery"
	"hangbench/bench/exit"
	"hangbench/bench/oldflag"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
)

// WatchHelp is the description of the command watch.
const WatchHelp = "Monitor a guest that runs on this Xen host, by its name or number. Print each hang with its " +
	"evidence, and the end of the hang. No file of the guest's kernel is needed: without one its symbols and types are " +
	"read from the guest's memory. Ctrl-C or SIGTERM detaches the monitor. A monitor that is killed leaves the " +
	"guest in a state that \"hangbench recover\" repairs. A monitor that is stopped (SIGSTOP, Ctrl-Z) or gets no CPU " +
	"blocks the guest at its next event until the monitor continues."

// Watch is the command watch.
type Watch struct {
	kernel    kernelFlags
	mechanism string
	sample    time.Duration // between two samples
	duration  time.Duration
	json      bool
	driver    string
}

// AddFlags defines the command's flags.
func (w *Watch) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&w.mechanism, "mechanism", "poll",
		"how the monitor gets its signal: `NAME`, see hangbench list mechanisms")
	w.kernel.add(f)
	f.DurationVar(&w.sample, "sample", 100*time.Millisecond, "`time` between two samples, 10ms to 10s")
	oldflag.Add(f, "sample-ms", "--sample, with a unit, as in 100ms", func(v string) error {
		ms, err := strconv.ParseInt(v, 10, 32)
		w.sample = time.Duration(ms) * time.Millisecond
		return err
	})
	f.DurationVar(&w.duration, "duration", 0,
		"detach from the guest after this `time`, as 90s or 1h (default: when interrupted)")
	f.BoolVar(&w.json, "json", false, "print JSON, one object a line")
	AddDriver(f, &w.driver)
}

// WatchedError is what went wrong with a monitor that was attached. It is told even if the
// user has ended the watch: the guest may have to be recovered.
type WatchedError struct{ Err error }

func (e WatchedError) Error() string { return e.Err.Error() }

// Unwrap returns what went wrong.
func (e WatchedError) Unwrap() error { return e.Err }

// check returns the mechanism to watch with.
func (w *Watch) check() (trap.Mechanism, error) {
	if err := CheckDriver(w.driver); err != nil {
		return trap.Mechanism{}, err
	}
	m, err := trap.Find(w.mechanism)
	switch {
	case err != nil:
		return m, exit.UsageError{Err: err}
	case !m.Watches():
		return m, exit.Usagef("--mechanism %s: that is no monitor", w.mechanism)
	case w.sample < 10*time.Millisecond || w.sample > 10*time.Second:
		return m, exit.Usagef("--sample %v: want 10ms to 10s", w.sample)
	case w.duration < 0:
		return m, exit.Usagef("--duration %v: want a time to come", w.duration)
	}
	return m, nil
}

// Run monitors a domain until ctx or the duration ends, and prints what the
// monitor finds to stdout.
func (w *Watch) Run(ctx context.Context, domain string, stdout, stderr io.Writer) error {
	m, err := w.check()
	if err != nil {
		return err
	}
	h, err := Open(w.kernel.guests, w.driver)
	if err != nil {
		return err
	}
	defer h.Close()
	return w.watch(ctx, h, m, domain, stdout, stderr)
}

// watch monitors a domain of an open host with the mechanism.
func (w *Watch) watch(ctx context.Context, h *dom0.Host, m trap.Mechanism, domain string, stdout,
	stderr io.Writer) error {
	id, err := Find(h, domain)
	if err != nil {
		return err
	}
	profiles, err := w.kernel.profiles(ctx, h)
	if err != nil {
		return err
	}
	inMemory := w.kernel.image == ""
	g, err := h.OpenGuest(ctx, id, profiles, inMemory, func(what string) { fmt.Fprintln(stderr, what) })
	if errors.Is(err, dom0.ErrNoProfile) {
		return exit.UsageError{Err: err}
	}
	if err != nil {
		return err
	}
	defer g.Close()

	watching, stop := context.WithCancel(ctx)
	defer stop()
	if w.duration > 0 {
		var cancel context.CancelFunc
		watching, cancel = context.WithTimeout(watching, w.duration)
		defer cancel()
	}
	// SIGPIPE on standard output would end this process while the monitor is
	// attached. Caught, it becomes an error of the write below.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	defer signal.Stop(pipe)
	out := watchPrinter{w: stdout, json: w.json, domain: id, startNS: clock.Now(), failed: stop}
	attach := func(report func(monitor.News)) (recovery.Watched, error) {
		return g.Attach(monitor.Config{Mechanism: m, Thresholds: detect.DefaultThresholds(),
			Sample: w.sample, Report: report})
	}
	attached := false
	c, err := recovery.Watch(watching, attach,
		func() {
			attached = true
			out.startNS = clock.Now()
			l := watchLine{Event: "attached", Mechanism: m.Name, Kernel: g.Release, KernelFrom: kernelFile,
				Memory: g.InMemory, Unjudged: g.Unjudged()}
			if g.InMemory != nil {
				l.KernelFrom = kernelMemory
			}
			out.print(l, out.startNS)
		}, out.news)
	if busy := (*recovery.AttachedError)(nil); errors.As(err, &busy) {
		return exit.UsageError{Err: err}
	}
	if attached && errors.Is(err, monitor.ErrGone) {
		out.print(watchLine{Event: "gone"}, clock.Now())
	} else if err != nil && attached {
		return WatchedError{err}
	} else if err != nil {
		return err
	}
	out.print(watchLine{Event: "detached", Mechanism: m.Name, Counters: &c}, clock.Now())
	if out.err != nil {
		return WatchedError{out.err}
	}
	return nil
}

// watchPrinter prints the lines of a watch.
type watchPrinter struct {
	w       io.Writer
	json    bool
	domain  int
	startNS int64  // when the monitor was attached, on dom0's clock
	failed  func() // called once, when a line cannot be written
	err     error  // of the first line that could not be written
}

func (p *watchPrinter) print(l watchLine, atNS int64) {
	if p.err != nil {
		return
	}
	l.Domain, l.MS = p.domain, max(atNS-p.startNS, 0)/1e6
	if p.json {
		p.err = json.NewEncoder(p.w).Encode(l)
	} else {
		_, p.err = fmt.Fprintln(p.w, l.text())
	}
	if p.err != nil {
		p.failed()
	}
}

func (p *watchPrinter) news(n monitor.News) {
	if v := n.Verdict; v != nil {
		p.print(watchLine{Event: "verdict", Class: string(v.Class), Scope: string(v.Scope), VCPUs: v.VCPUs,
			Evidence: v.Evidence}, v.TimeNS)
	}
	if r := n.Recovered; r != nil {
		p.print(watchLine{Event: "recovered", Class: string(r.Class), HungMS: (r.CalmNS - r.HungNS) / 1e6}, r.TimeNS)
	}
}

// watchLine is a line of "watch --json".
type watchLine struct {
	Event string `json:"event"` // attached, verdict, recovered, gone or detached
	// MS is milliseconds of dom0's clock since the monitor was attached.
	MS       int64    `json:"ms"`
	Domain   int      `json:"domain"`
	Class    string   `json:"class,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	VCPUs    []int    `json:"vcpus,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
	HungMS   int64    `json:"hung_ms,omitempty"` // recovered: how long the hang lasted

	Mechanism string `json:"mechanism,omitempty"`
	Kernel    string `json:"kernel,omitempty"`
	// Attached: where the kernel's symbols and types are from, what was read of the guest's
	// memory if they are from there, and what cannot be judged without what the kernel
	// lacks.
	KernelFrom string            `json:"kernel_from,omitempty"`
	Memory     *dom0.MemoryRead  `json:"memory,omitempty"`
	Unjudged   []detect.Unjudged `json:"unjudged,omitempty"`

	Counters *monitor.Counters `json:"counters,omitempty"` // detached
}

// Values of watchLine.KernelFrom.
const (
	kernelFile   = "file" // of the kernel, or of its profile in the folder of guests
	kernelMemory = "memory"
)

func (l *watchLine) text() string {
	at := fmt.Sprintf("%10.3f s  ", float64(l.MS)/1e3)
	switch l.Event {
	case "attached":
		s := at + fmt.Sprintf("attached to domain %d with %s; its kernel is Linux %s, ", l.Domain, l.Mechanism, l.Kernel)
		if m := l.Memory; m != nil {
			s += fmt.Sprintf("found in its memory (moved by %#x; %.1f MiB read in %.1f s)", m.Slide,
				float64(m.Bytes)/(1<<20), float64(m.NS)/1e9)
		} else {
			s += "known from a file"
		}
		for _, u := range l.Unjudged {
			s += fmt.Sprintf("\n%14s%s cannot be judged: %s", "", u.Class, u.Why)
		}
		return s
	case "verdict":
		where := l.Scope
		if len(l.VCPUs) > 0 {
			where += fmt.Sprintf(", vCPUs %v", l.VCPUs)
		}
		return at + fmt.Sprintf("HANG %s (%s)\n%14s%s", l.Class, where, "",
			strings.Join(l.Evidence, "\n"+strings.Repeat(" ", 14)))
	case "gone":
		return at + fmt.Sprintf("domain %d is being destroyed: there is nothing more to watch", l.Domain)
	case "recovered":
		return at + fmt.Sprintf("the %s hang is over, after %.3f s", l.Class, float64(l.HungMS)/1e3)
	}
	c := l.Counters
	s := at + fmt.Sprintf("detached; %d samples, %d signals of %d switches; events: %d accesses, %d steps, "+
		"%d breakpoints, %d CR3, %d strange; ring full %d times",
		c.Samples, c.Signals, c.Switches, c.Accesses, c.Steps, c.Breakpoints, c.CR3, c.Strange, c.RingFull)
	if c.BackedOut != "" {
		s += "; backed out: " + c.BackedOut
	}
	return s
}
