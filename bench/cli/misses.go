package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hangbench/analysis/table"
	"hangbench/bench/agent"
	"hangbench/bench/labhost"
	"hangbench/bench/misses"
	"hangbench/bench/xenhost"
)

// missesFlags say what hangbench bench misses measures.
type missesFlags struct {
	host, domain, guests string
	mechanisms           []string
	vcpus                int
	window, sample       time.Duration
	asJSON               bool
	lab                  labFlags
}

func benchMisses(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "bench misses", "", "Count the task switches that each mechanism misses on a busy guest: its signals beside the run queues' own count, stopping the guest at every switch and, beside it, with the passes that are the default. Guests are stopped often and hard meanwhile.")
	var m missesFlags
	f.StringVar(&m.host, "host", "lab", "`KIND` is lab (emulated; a guest is made) or xen (this machine is dom0; name the guest with --domain)")
	f.StringVar(&m.domain, "domain", "", "`name` of a guest made by hangbench, for --host xen")
	f.StringVar(&m.guests, "guests", agent.GuestDir, "`folder` of guest kernels, for --host xen")
	f.StringSliceVar(&m.mechanisms, "mechanism", misses.Mechanisms(), "`names` of the mechanisms to measure")
	f.IntVar(&m.vcpus, "vcpus", 2, "vCPUs of the lab's guest, 1 to 8")
	f.DurationVar(&m.window, "window", 2*time.Second, "`length` of a window on dom0's clock, 200ms to 1m")
	f.DurationVar(&m.sample, "sample", 100*time.Millisecond, "sampling `period`, 10ms to 1s and not longer than the window")
	f.BoolVar(&m.asJSON, "json", false, "print JSON")
	m.lab.add(f)
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	p := newProgress(env, 0)
	defer p.end()
	var r *misses.Report
	var err error
	if m.host == "xen" {
		r, err = m.xen(ctx, p)
	} else {
		r, err = m.inLab(ctx, env, p)
	}
	p.end()
	if err != nil {
		return err
	}
	return m.show(env, r)
}

func (m *missesFlags) check() error {
	switch {
	case m.host != "lab" && m.host != "xen":
		return usagef("--host %s: there are lab and xen", m.host)
	case m.host == "xen" && m.domain == "":
		return usagef("--host xen needs --domain: the name of a guest that hangbench made and that is up")
	case m.host == "lab" && m.domain != "":
		return usagef("--domain is for --host xen: in the lab a guest is made")
	case m.vcpus < 1 || m.vcpus > 8:
		return usagef("--vcpus %d: want 1 to 8", m.vcpus)
	case m.window < 200*time.Millisecond || m.window > time.Minute:
		return usagef("--window %v: want 200ms to 1m", m.window)
	case m.sample < 10*time.Millisecond || m.sample > min(time.Second, m.window):
		return usagef("--sample %v: want 10ms to 1s, and not longer than the window", m.sample)
	case len(m.mechanisms) == 0:
		return usagef("--mechanism: name at least one")
	}
	known := misses.Mechanisms()
	for _, name := range m.mechanisms {
		if !slices.Contains(known, name) {
			return usagef("--mechanism %s: there are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// xen measures on this dom0.
func (m *missesFlags) xen(ctx context.Context, p *progress) (_ *misses.Report, err error) {
	x, err := xenhost.Open(m.guests)
	if errors.Is(err, xenhost.ErrNoGuests) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	v, err := x.Version()
	if err != nil {
		return nil, err
	}
	guest, err := x.Price(ctx, m.domain, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, guest.Close()) }()
	r := &misses.Report{Host: x.Kind(), Xen: v, GuestKernel: guest.Release(), VCPUs: guest.VCPUs(),
		WindowMS: m.window.Milliseconds(), SampleMS: m.sample.Milliseconds()}
	for _, name := range m.mechanisms {
		s, err := misses.Measure(ctx, guest, name, misses.Config{Window: m.window, Sample: m.sample, Progress: p.step})
		if err != nil {
			return nil, err
		}
		r.Series = append(r.Series, s)
	}
	r.Compute()
	return r, nil
}

// inLab runs the same program in the dom0 of a lab with a guest up, one mechanism
// at a time, all in one lab.
func (m *missesFlags) inLab(ctx context.Context, env *Env, p *progress) (_ *misses.Report, err error) {
	h, err := m.lab.host(ctx, env, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	guest := defaultGuest()
	guest.VCPUs = m.vcpus
	machine, err := h.UpGuest(ctx, guest)
	if err != nil {
		return nil, err
	}
	defer machine.Close()
	var all *misses.Report
	for _, name := range m.mechanisms {
		p.step(name)
		r, err := m.exec(machine, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if all == nil {
			all = r
			continue
		}
		all.Series = append(all.Series, r.Series...)
	}
	all.Xen = h.Lab.Manifest.Version("xen-hypervisor-4.20-amd64")
	all.Compute()
	return all, nil
}

func (m *missesFlags) exec(machine *labhost.Machine, mechanism string) (*misses.Report, error) {
	out, err := machine.Exec([]string{"/init", "bench", "misses", "--host", "xen", "--domain", agent.GuestName, "--json",
		"--mechanism", mechanism, "--window", m.window.String(), "--sample", m.sample.String()})
	if err != nil {
		return nil, err
	}
	// Output and errors come together; the report begins with the first brace.
	text := out.Text
	if i := strings.IndexByte(text, '{'); i >= 0 && (out.Status == ExitDone || out.Status == ExitFailed) {
		var r misses.Report
		if err := json.NewDecoder(strings.NewReader(text[i:])).Decode(&r); err != nil {
			return nil, fmt.Errorf("read what dom0 measured: %w", err)
		}
		return &r, nil
	}
	return nil, fmt.Errorf("it ended with status %d in dom0: %s", out.Status, strings.TrimSpace(text))
}

// show prints the report. A guest that no longer beats makes it a failure.
func (m *missesFlags) show(env *Env, r *misses.Report) error {
	if m.asJSON {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", " ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else if err := r.Table().Write(env.Stdout, table.Terminal); err != nil {
		return err
	}
	for _, s := range r.Series {
		if !s.Alive {
			env.warn("the guest's heart stood still after %s", s.Mechanism)
			return errFailed
		}
	}
	return nil
}
