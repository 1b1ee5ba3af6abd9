package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hangbench/analysis/stats"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

func (a *app) benchCommand() *cobra.Command {
	return a.group("bench", "measure the harness itself",
		a.benchLab("lab"), a.benchEvent(), a.benchMisses(), a.benchKill())
}

// defaultGuest is the guest of commands that measure one guest without a suite.
func defaultGuest() suites.Guest {
	return suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: 1, MemoryMiB: 160}
}

// figures returns the measured times of a lab host, in seconds, by the names that a
// run's manifest gives them.
func figures(t labhost.Times) map[string]float64 {
	m := map[string]float64{}
	if t.ColdBootSec > 0 {
		m["cold_boot_sec"] = round(t.ColdBootSec)
	}
	if t.GuestBootSec > 0 {
		m["guest_boot_sec"] = round(t.GuestBootSec)
	}
	if median, ok := stats.Median(t.Restores); ok {
		m["restore_median_sec"] = round(median)
		m["restore_max_sec"] = round(slices.Max(t.Restores))
	}
	return m
}

// round rounds seconds to milliseconds: more digits of a wall time are noise.
func round(sec float64) float64 { return float64(int64(sec*1e3+0.5)) / 1e3 }

// labBench measures the lab: wall times and sizes of this machine, today.
type labBench struct {
	lab      labFlags
	restores int
	json     bool
}

// benchRow is one measured value.
type benchRow struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Limit  float64 `json:"limit,omitempty"` // above it the lab is too slow or too big
	Detail string  `json:"detail"`
}

// benchLab returns the command "bench lab". Its former name was "lab bench".
func (a *app) benchLab(name string) *cobra.Command {
	c := a.command(name, "measure boot, restore, memory and disk of the lab",
		"Measure the lab on this machine: cold boot to agent ready, restore to agent answering, memory, disk. "+
			"Wall times depend on the machine and its load.", 0, 0)
	var b labBench
	b.lab.add(c)
	c.Flags().IntVar(&b.restores, "restores", 5, "`number` of restores, 1 to 100")
	c.Flags().BoolVar(&b.json, "json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error { return b.run(c.Context(), a) }
	return c
}

func (b *labBench) run(ctx context.Context, a *app) error {
	if b.restores < 1 || b.restores > 100 {
		return exit.Usagef("--restores %d: want 1 to 100", b.restores)
	}
	h, err := b.lab.host(ctx, a)
	if err != nil {
		return err
	}
	var rows []benchRow
	boot, err := h.ColdBoot(ctx)
	if err != nil {
		return err
	}
	rows = append(rows, benchRow{"cold_boot_sec", round(boot.Seconds()), 60, "power-on to agent ready, and saved"})
	if _, err := h.Base(ctx); err != nil {
		return err
	}
	var times []float64
	var peak int64
	for i := range b.restores {
		a.step(fmt.Sprintf("restore %d of %d", i+1, b.restores))
		sec, kib, err := restore(ctx, h)
		if err != nil {
			return err
		}
		times = append(times, sec)
		peak = max(peak, kib)
	}
	median, _ := stats.Median(times) // there is at least one
	rows = append(rows,
		benchRow{"restore_median_sec", round(median), 10,
			fmt.Sprintf("restore to dom0 having answered \"xl list\", n=%d", b.restores)},
		benchRow{"restore_max_sec", round(slices.Max(times)), 10, "the slowest of them"})
	a.step("guest")
	if _, err := h.Guest(ctx, defaultGuest()); err != nil {
		return err
	}
	if t := h.Times(); t.GuestBootSec > 0 {
		rows = append(rows, benchRow{"guest_boot_sec", round(t.GuestBootSec), 0,
			"restore, create a guest, its heartbeat runs, and saved"})
	}
	rows = append(rows,
		benchRow{"emulator_peak_mib", float64(peak / 1024), 1536, "peak resident memory of one lab after a restore"},
		benchRow{"cache_mib", float64(diskMiB(string(h.Lab.Cache))), 1536, "the whole cache on disk"})
	a.display.End()
	return b.show(a, h.Lab.Manifest, rows)
}

// restore restores the lab once. It returns how many seconds passed until dom0 had
// answered, and the emulator's peak memory in KiB.
func restore(ctx context.Context, h *labhost.Host) (sec float64, peak int64, err error) {
	start := time.Now()
	m, err := h.Up(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	_, err = m.Run(ctx, []string{"xl", "list"}, io.Discard, io.Discard)
	return time.Since(start).Seconds(), peakKiB(m.PID()), err
}

func (b *labBench) show(a *app, m lab.Manifest, rows []benchRow) error {
	if b.json {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Schema int        `json:"schema"`
			Lab    string     `json:"lab"`
			Rows   []benchRow `json:"rows"`
		}{1, m.Key(), rows})
	}
	fmt.Fprintf(a.out, "lab %s on this machine (wall time, Bochs %s)\n", m.Key(), m.Version("bochs"))
	for _, r := range rows {
		limit := ""
		if r.Limit > 0 {
			limit = fmt.Sprintf("limit %g", r.Limit)
		}
		fmt.Fprintf(a.out, "  %-20s %10.3f  %-11s %s\n", r.Name, r.Value, limit, r.Detail)
	}
	return nil
}

// peakKiB is the largest resident size that a process has had, in KiB; 0 when the
// process has ended.
func peakKiB(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // a line of another form counts as 0
			return n
		}
	}
	return 0
}
