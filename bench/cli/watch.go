package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"hangbench/bench/dom0"
	"hangbench/cgo/xenctrl"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/monitor"
	"hangbench/monitor/detect"
)

// openDom0 opens this machine as a control domain.
func openDom0(env *Env, guests string) (*dom0.Host, error) {
	h := &dom0.Host{Kind: "xen", Guests: guests, Work: os.TempDir(), Progress: func(string) {}}
	line, err := os.ReadFile("/proc/cmdline")
	if err == nil && strings.Contains(string(line), place.LabMark) {
		h.Kind = "lab"
		if guests == "" {
			h.Guests = place.Guests
		}
	}
	if err := h.Open(); err != nil {
		if errors.Is(err, xenctrl.ErrNotBuilt) || errors.Is(err, xenctrl.ErrNoXen) {
			return nil, missingError{fmt.Errorf("this needs a Xen control domain (dom0), which this machine is not; in the lab's dom0 it runs as: hangbench lab run /init ...: %w", err)}
		}
		return nil, err
	}
	return h, nil
}

// find returns the number of a domain that the user has named.
func find(h *dom0.Host, domain string) (int, error) {
	id, err := h.Find(domain)
	if errors.Is(err, xenctrl.ErrNoDomain) {
		return 0, usageError{err}
	}
	return id, err
}

// kernelFlags say which kernel the guest runs.
type kernelFlags struct{ guests, image string }

func (k *kernelFlags) add(f *pflag.FlagSet) {
	f.StringVar(&k.guests, "guests", "", "`folder` of guest kernels, of which the guest runs one (default in the lab's dom0: "+place.Guests+")")
	f.StringVar(&k.image, "kernel", "", "`file` of the kernel that the guest runs: vmlinuz or vmlinux")
}

func (k *kernelFlags) profiles(h *dom0.Host) ([]*kernel.Profile, error) {
	if k.image == "" {
		return h.Profiles()
	}
	img, err := kernel.Open(k.image)
	if err != nil {
		return nil, usageError{err}
	}
	p, err := img.Profile(dom0.Fields())
	if err != nil {
		return nil, usageError{err}
	}
	return []*kernel.Profile{p}, nil
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

	Mechanism string            `json:"mechanism,omitempty"`
	Kernel    string            `json:"kernel,omitempty"`
	Counters  *monitor.Counters `json:"counters,omitempty"` // detached
}

func (l *watchLine) text() string {
	at := fmt.Sprintf("%10.3f s  ", float64(l.MS)/1e3)
	switch l.Event {
	case "attached":
		return at + fmt.Sprintf("attached to domain %d with %s; its kernel is Linux %s", l.Domain, l.Mechanism, l.Kernel)
	case "verdict":
		where := l.Scope
		if len(l.VCPUs) > 0 {
			where += fmt.Sprintf(", vCPUs %v", l.VCPUs)
		}
		return at + fmt.Sprintf("HANG %s (%s)\n%14s%s", l.Class, where, "", strings.Join(l.Evidence, "\n"+strings.Repeat(" ", 14)))
	case "gone":
		return at + fmt.Sprintf("domain %d is being destroyed: there is nothing more to watch", l.Domain)
	case "recovered":
		return at + fmt.Sprintf("the %s hang is over, after %.3f s", l.Class, float64(l.HungMS)/1e3)
	}
	c := l.Counters
	s := at + fmt.Sprintf("detached; %d samples, %d signals of %d switches; events: %d accesses, %d steps, %d breakpoints, %d CR3, %d strange; ring full %d times",
		c.Samples, c.Signals, c.Switches, c.Accesses, c.Steps, c.Breakpoints, c.CR3, c.Strange, c.RingFull)
	if c.BackedOut != "" {
		s += "; backed out: " + c.BackedOut
	}
	return s
}

func watchCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "watch", "DOMAIN", "Monitor a guest that runs on this Xen host, by its name or number, and print each hang with its evidence, and its end. Interrupt (Ctrl-C, SIGTERM) to let go of the guest. A monitor that is killed leaves the guest in a state that \"hangbench recover\" mends. One that is stopped (SIGSTOP, Ctrl-Z) or gets no CPU holds up the guest at its next event until it goes on.")
	var k kernelFlags
	mech := f.String("mechanism", "poll", "how the monitor gets its signal: `NAME`, see hangbench list mechanisms")
	k.add(f)
	sample := f.Int64("sample-ms", 100, "time between two samples, 10 to 10000 `ms`")
	duration := f.Duration("duration", 0, "let go of the guest after this `time`, as 90s or 1h (default: when interrupted)")
	asJSON := f.Bool("json", false, "print JSON, one object a line")
	var driver string
	addDriver(f, &driver)
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	if err := checkDriver(driver); err != nil {
		return err
	}
	m, err := monitor.FindMechanism(*mech)
	if err != nil {
		return usageError{err}
	}
	if !m.Watches() {
		return usagef("--mechanism %s: that is no monitor", *mech)
	}
	if *sample < 10 || *sample > 10000 {
		return usagef("--sample-ms %d: want 10 to 10000", *sample)
	}
	if *duration < 0 {
		return usagef("--duration %v: want a time to come", *duration)
	}
	h, err := openDom0(env, k.guests)
	if err != nil {
		return err
	}
	defer h.Close()
	h.Driver = driver
	id, err := find(h, f.Arg(0))
	if err != nil {
		return err
	}
	profiles, err := k.profiles(h)
	if err != nil {
		return err
	}
	g, err := h.OpenGuest(ctx, id, profiles, func(what string) { fmt.Fprintln(env.Stderr, what) })
	if errors.Is(err, dom0.ErrNoProfile) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	defer g.Close()

	watching, stop := context.WithCancel(ctx)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		watching, cancel = context.WithTimeout(watching, *duration)
		defer cancel()
	}
	// A reader that goes away must not take the monitor with it, as SIGPIPE on
	// standard output would: it has a guest to let go of.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, unix.SIGPIPE)
	defer signal.Stop(pipe)
	start := dom0.Now()
	var printErr error
	print := func(l watchLine, at int64) {
		l.Domain, l.MS = id, max(at-start, 0)/1e6
		if printErr != nil {
			return
		}
		if *asJSON {
			printErr = json.NewEncoder(env.Stdout).Encode(l)
		} else {
			_, printErr = fmt.Fprintln(env.Stdout, l.text())
		}
		if printErr != nil {
			stop() // nobody listens any more
		}
	}
	c, err := g.Watch(watching, m, detect.DefaultThresholds(), time.Duration(*sample)*time.Millisecond,
		func() {
			start = dom0.Now()
			print(watchLine{Event: "attached", Mechanism: m.Name, Kernel: g.Release}, start)
		},
		func(n monitor.News) {
			if v := n.Verdict; v != nil {
				print(watchLine{Event: "verdict", Class: string(v.Class), Scope: string(v.Scope), VCPUs: v.VCPUs, Evidence: v.Evidence}, v.TimeNS)
			}
			if r := n.Recovered; r != nil {
				print(watchLine{Event: "recovered", Class: string(r.Class), HungMS: (r.CalmNS - r.HungNS) / 1e6}, r.TimeNS)
			}
		})
	if attached := (*dom0.AttachedError)(nil); errors.As(err, &attached) {
		return usageError{err}
	}
	if errors.Is(err, monitor.ErrGone) {
		print(watchLine{Event: "gone"}, dom0.Now())
	} else if err != nil {
		return err
	}
	print(watchLine{Event: "detached", Mechanism: m.Name, Counters: &c}, dom0.Now())
	return printErr
}
