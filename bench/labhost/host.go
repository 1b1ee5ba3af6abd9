package labhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hangbench/bench/agent"
	"hangbench/bench/dom0"
	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/wire"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// Host is a lab on which trials run. It may be used by several goroutines: each
// trial has a machine of its own.
type Host struct {
	Lab *lab.Lab
	// Shim is the library of bochs.BuildShim.
	Shim string
	// Log gets the steps of making snapshots, and a warning of what went wrong and was
	// repaired.
	Log *slog.Logger
	// Variant builds another lab of the same source, when the first guest is asked for
	// that cannot be had in Lab. Without it there are no such guests.
	Variant func(context.Context, lab.Variant) (*lab.Lab, error)

	variants variants

	mu    sync.Mutex // held while a snapshot is made
	times Times
}

// Times are wall times of the lab's own work, in seconds; zero for what was not
// done because it lay in the cache.
type Times struct {
	ColdBootSec  float64 // power-on to agent ready
	GuestBootSec float64 // restored dom0 to guest up
	Restores     []float64
}

// New returns the host of a lab, with the emulator's preload library built.
func New(ctx context.Context, l *lab.Lab, log *slog.Logger) (*Host, error) {
	shim, err := bochs.BuildShim(ctx, l.CC, filepath.Dir(l.CC))
	if err != nil {
		return nil, fmt.Errorf("build the emulator's preload library: %w", err)
	}
	return &Host{Lab: l, Shim: shim, Log: log}, nil
}

// variants are the hosts of other labs, once somebody needs them.
type variants struct {
	mu sync.Mutex
	of map[lab.Variant]*Host
}

// variantOf is the lab that such guests need.
func variantOf(g suites.Guest) lab.Variant {
	return lab.Variant{Superpages: g.Superpages, Programs: g.Programs}
}

// Manifests returns what the labs are made of in which such guests run, by the names
// of their variants: "" is Lab's own. Those that were not needed before are built.
func (h *Host) Manifests(ctx context.Context, guests []suites.Guest) (map[string]lab.Manifest, error) {
	all := map[string]lab.Manifest{}
	for _, g := range guests {
		on, err := h.of(ctx, g)
		if err != nil {
			return nil, err
		}
		all[variantOf(g).String()] = on.Lab.Manifest
	}
	return all, nil
}

// of returns the host on which such guests run: h, or that of another lab, which is
// built if nobody has asked for it before.
func (h *Host) of(ctx context.Context, g suites.Guest) (*Host, error) {
	v := variantOf(g)
	if v == (lab.Variant{}) {
		return h, nil
	}
	if h.Variant == nil {
		return nil, fmt.Errorf("this lab has no guests with %s", v)
	}
	h.variants.mu.Lock()
	defer h.variants.mu.Unlock()
	other := h.variants.of[v]
	if other == nil {
		l, err := h.Variant(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("build the lab for guests with %s: %w", v, err)
		}
		other = &Host{Lab: l, Shim: h.Shim, Log: h.Log}
		if h.variants.of == nil {
			h.variants.of = map[lab.Variant]*Host{}
		}
		h.variants.of[v] = other
	}
	return other, nil
}

// Close lets go of the other labs. The one the host was made of is its maker's to
// close.
func (h *Host) Close() error {
	h.variants.mu.Lock()
	defer h.variants.mu.Unlock()
	var err error
	for _, other := range h.variants.of {
		err = errors.Join(err, other.Lab.Close())
	}
	return err
}

// Times returns what was measured so far.
func (h *Host) Times() Times {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.times
	t.Restores = append([]float64(nil), t.Restores...)
	return t
}

func (h *Host) snapshotDir(name string) string {
	return filepath.Join(h.Lab.Dir, "snapshots", name)
}

// guestName names a kind of guest in file names.
func guestName(g suites.Guest) string {
	b, err := json.Marshal(g)
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%s-%dcpu-%s", g.Kernel, g.VCPUs, hex.EncodeToString(sum[:4]))
}

// Base returns the snapshot of dom0 with its agent ready, booting it first if
// the cache has none.
func (h *Host) Base(ctx context.Context) (*bochs.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.base(ctx)
}

func (h *Host) base(ctx context.Context) (*bochs.Snapshot, error) {
	return h.snapshot(ctx, "dom0", nil, nil, "boot the lab", &h.times.ColdBootSec)
}

// Guest returns the snapshot of dom0 with a guest up.
func (h *Host) Guest(ctx context.Context, g suites.Guest) (*bochs.Snapshot, error) {
	h, err := h.of(ctx, g)
	if err != nil {
		return nil, err
	}
	return h.guest(ctx, g)
}

// guest is Guest on the host that of has chosen.
func (h *Host) guest(ctx context.Context, g suites.Guest) (*bochs.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := "guest-" + guestName(g)
	if s, err := bochs.OpenSnapshot(h.snapshotDir(name), h.Lab.Manifest.Machine, h.Lab.Manifest.Key()); err == nil {
		return s, nil
	}
	base, err := h.base(ctx)
	if err != nil {
		return nil, err
	}
	s, err := h.snapshot(ctx, name, base, &agent.Job{Guest: &g}, "boot the guest", &h.times.GuestBootSec)
	if snapErr := (*bochs.SnapshotError)(nil); errors.As(err, &snapErr) {
		// The base itself is no good: once more from power-on.
		h.Log.Warn("booting the lab anew", "error", snapErr)
		if err := h.drop("dom0"); err != nil {
			return nil, err
		}
		if base, err = h.base(ctx); err != nil {
			return nil, err
		}
		s, err = h.snapshot(ctx, name, base, &agent.Job{Guest: &g}, "boot the guest", &h.times.GuestBootSec)
	}
	return s, err
}

// drop forgets snapshots.
func (h *Host) drop(names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll(h.snapshotDir(name)); err != nil {
			return fmt.Errorf("remove a damaged snapshot: %w", err)
		}
	}
	return nil
}

// snapshot opens a snapshot, or makes it: from power-on, or from another one
// with a job. The caller holds mu.
func (h *Host) snapshot(ctx context.Context, name string, from *bochs.Snapshot, job *agent.Job, what string, sec *float64) (*bochs.Snapshot, error) {
	dir, key := h.snapshotDir(name), h.Lab.Manifest.Key()
	s, err := bochs.OpenSnapshot(dir, h.Lab.Manifest.Machine, key)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		h.Log.Warn("making a snapshot anew", "error", err)
		if err := h.drop(name); err != nil {
			return nil, err
		}
	}
	h.Log.Info(what)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("make a snapshot: %w", err)
	}
	l, run, err := h.launch(job)
	if err != nil {
		return nil, err
	}
	l.Snapshot = from
	// What the agent says is watched while the emulator runs: a failure in dom0
	// is better said now than after a deadline.
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	most := patience
	if job != nil && job.Guest != nil {
		most *= time.Duration(1 + job.Guest.Neighbours) // they boot one after the other
	}
	ctx, stop := context.WithTimeoutCause(ctx, most, fmt.Errorf("%s: nothing came of it within %v", what, most))
	defer stop()
	r, w := io.Pipe()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		in := wire.NewReader(r)
		for {
			m, err := in.Next()
			if gap := (*wire.GapError)(nil); errors.As(err, &gap) {
				continue
			}
			if err != nil {
				io.Copy(io.Discard, r)
				return
			}
			var p agent.Progress
			var f agent.Failure
			switch {
			case m.Kind == wire.KindProgress && m.Decode(&p) == nil:
				h.Log.Info(what + ": " + p.Stage)
			case m.Kind == wire.KindError && m.Decode(&f) == nil:
				cancel(&AgentError{f})
			}
		}
	}()
	start := time.Now()
	s, err = bochs.Save(ctx, l, bochs.SaveRequest{Dir: dir, After: agent.Mark, Key: key, Output: w})
	w.Close()
	<-watched
	run.end(err != nil && parent.Err() == nil)
	if errors.Is(err, os.ErrExist) {
		// Another process made it between the look above and Save's own.
		if won, openErr := bochs.OpenSnapshot(dir, h.Lab.Manifest.Machine, key); openErr == nil {
			return won, nil
		}
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			var ae *AgentError
			if errors.As(cause, &ae) {
				return nil, fmt.Errorf("%s: %w\n%s", what, cause, ae.Console)
			}
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	*sec = time.Since(start).Seconds()
	return s, nil
}

// Run runs one trial in a machine of its own. A snapshot that turns out to be
// damaged is made anew, from power-on, with a warning.
func (h *Host) Run(ctx context.Context, t plan.Trial, log *slog.Logger) (results.Trial, error) {
	return h.run(ctx, t, log, nil)
}

// Record runs one trial like Run and returns with its record what its monitor
// observed. Writing that down takes time in dom0: the record need not be the one
// that Run returns.
func (h *Host) Record(ctx context.Context, t plan.Trial, log *slog.Logger) (results.Trial, dom0.Recording, error) {
	var taken dom0.Recording
	rec, err := h.run(ctx, t, log, &taken)
	return rec, taken, err
}

func (h *Host) run(ctx context.Context, t plan.Trial, log *slog.Logger, taken *dom0.Recording) (results.Trial, error) {
	h, err := h.of(ctx, t.Machine)
	if err != nil {
		return results.Trial{}, err
	}
	rec, err := h.runOnce(ctx, t, log, taken)
	if h.mend(ctx, err, "guest-"+guestName(t.Machine), "dom0") {
		rec, err = h.runOnce(ctx, t, log, taken)
	}
	return rec, err
}

// mend reports whether err is about a snapshot and trying again makes sense: the
// named snapshots are gone then.
func (h *Host) mend(ctx context.Context, err error, names ...string) bool {
	var snapErr *bochs.SnapshotError
	if !errors.As(err, &snapErr) || ctx.Err() != nil {
		return false
	}
	h.Log.Warn("booting the lab anew", "error", snapErr)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.drop(names...); err != nil {
		h.Log.Warn(err.Error())
		return false
	}
	return true
}

func (h *Host) runOnce(ctx context.Context, t plan.Trial, log *slog.Logger, taken *dom0.Recording) (results.Trial, error) {
	var rec results.Trial
	snap, err := h.guest(ctx, t.Machine)
	if err != nil {
		return rec, err
	}
	log.Info("restore")
	start := time.Now()
	m, err := h.start(ctx, snap, &agent.Job{Trial: &t, Record: taken != nil})
	if err != nil {
		return rec, err
	}
	defer m.Close()
	first := true
	err = m.expect(wire.KindRecord, &rec, func(p agent.Progress) {
		if first {
			first = false
			h.mu.Lock()
			h.times.Restores = append(h.times.Restores, time.Since(start).Seconds())
			h.mu.Unlock()
		}
		log.Info(p.Stage)
	})
	if err != nil {
		m.keep = m.keep && ctx.Err() == nil // an interruption leaves nothing to look into
		return rec, err
	}
	if rec.Trial != t.Index || rec.Seed != t.Seed {
		return rec, fmt.Errorf("the lab answered trial %d with the record of trial %d", t.Index, rec.Trial)
	}
	if taken != nil {
		*taken = dom0.Recording{}
		return rec, m.expect(wire.KindStream, taken, nil)
	}
	return rec, nil
}

// Look reads the kernel of a guest that has just come up.
func (h *Host) Look(ctx context.Context, g suites.Guest) (dom0.Sight, error) {
	var s dom0.Sight
	h, err := h.of(ctx, g)
	if err != nil {
		return s, err
	}
	snap, err := h.guest(ctx, g)
	if err != nil {
		return s, err
	}
	m, err := h.start(ctx, snap, &agent.Job{Look: true})
	if err != nil {
		return s, err
	}
	defer m.Close()
	return s, m.expect(wire.KindRecord, &s, nil)
}

// Up starts a machine with dom0 only, for Exec.
func (h *Host) Up(ctx context.Context) (*Machine, error) {
	m, err := h.upOnce(ctx)
	if h.mend(ctx, err, "dom0") {
		m, err = h.upOnce(ctx)
	}
	return m, err
}

func (h *Host) upOnce(ctx context.Context) (*Machine, error) {
	snap, err := h.Base(ctx)
	if err != nil {
		return nil, err
	}
	return h.start(ctx, snap, nil)
}

// UpGuest starts a machine with dom0 and a guest that is up, for Exec.
func (h *Host) UpGuest(ctx context.Context, g suites.Guest) (*Machine, error) {
	h, err := h.of(ctx, g)
	if err != nil {
		return nil, err
	}
	up := func() (*Machine, error) {
		snap, err := h.guest(ctx, g)
		if err != nil {
			return nil, err
		}
		return h.start(ctx, snap, nil)
	}
	m, err := up()
	if h.mend(ctx, err, "guest-"+guestName(g), "dom0") {
		m, err = up()
	}
	return m, err
}

// ColdBoot boots the lab from power-on and returns how long that took until the
// agent was ready and the machine saved. The snapshot is thrown away.
func (h *Host) ColdBoot(ctx context.Context) (time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var sec float64
	name := fmt.Sprintf("bench-%d", os.Getpid())
	if err := h.drop(name); err != nil {
		return 0, err
	}
	if _, err := h.snapshot(ctx, name, nil, nil, "boot the lab", &sec); err != nil {
		return 0, err
	}
	return time.Duration(sec * float64(time.Second)), h.drop(name)
}
