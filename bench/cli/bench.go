package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

func benchCommand(ctx context.Context, env *Env, args []string) error {
	return dispatch(ctx, env, "hangbench bench", []command{
		{"lab", "", "measure boot, restore, memory and disk of the lab", labBench},
		{"event", "", "measure the price of an event", benchEvent},
		{"misses", "", "count the task switches that each mechanism misses", benchMisses},
		{"kill", "", "kill monitors and see whether the guest is recovered", benchKill},
	}, args)
}

// defaultGuest is the guest that is measured where no suite says otherwise.
func defaultGuest() suites.Guest {
	return suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: 1, MemoryMiB: 160}
}

// figures names what a lab host measured of itself.
func figures(t labhost.Times) map[string]float64 {
	m := map[string]float64{}
	if t.ColdBootSec > 0 {
		m["cold_boot_sec"] = round(t.ColdBootSec)
	}
	if t.GuestBootSec > 0 {
		m["guest_boot_sec"] = round(t.GuestBootSec)
	}
	if n := len(t.Restores); n > 0 {
		s := append([]float64(nil), t.Restores...)
		sort.Float64s(s)
		m["restore_median_sec"] = round(s[n/2])
		m["restore_max_sec"] = round(s[n-1])
	}
	return m
}

// round keeps milliseconds: more is noise in a wall time.
func round(sec float64) float64 { return float64(int64(sec*1e3+0.5)) / 1e3 }

// labBench measures the lab: wall times and sizes of this machine, today.
func labBench(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab bench", "", "Measure the lab on this machine: cold boot to agent ready, restore to agent answering, memory, disk. Wall times depend on the machine and its load.")
	var lf labFlags
	lf.add(f)
	n := f.Int("restores", 5, "`number` of restores, 1 to 100")
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if *n < 1 || *n > 100 {
		return usagef("--restores %d: want 1 to 100", *n)
	}
	p := newProgress(env, 0)
	defer p.end()
	h, err := lf.host(ctx, env, p)
	if err != nil {
		return err
	}
	type row struct {
		Name   string  `json:"name"`
		Value  float64 `json:"value"`
		Limit  float64 `json:"limit,omitempty"`
		Detail string  `json:"detail"`
	}
	var rows []row

	boot, err := h.ColdBoot(ctx)
	if err != nil {
		return err
	}
	rows = append(rows, row{"cold_boot_sec", round(boot.Seconds()), 60, "power-on to agent ready, and saved"})
	if _, err := h.Base(ctx); err != nil {
		return err
	}
	var restores []float64
	var rss int64
	for i := range *n {
		p.step(fmt.Sprintf("restore %d of %d", i+1, *n))
		start := time.Now()
		m, err := h.Up(ctx)
		if err != nil {
			return err
		}
		_, err = m.Exec([]string{"xl", "list"})
		restores = append(restores, time.Since(start).Seconds())
		rss = max(rss, peakKiB(m.PID()))
		m.Close()
		if err != nil {
			return err
		}
	}
	sort.Float64s(restores)
	rows = append(rows,
		row{"restore_median_sec", round(restores[len(restores)/2]), 10, fmt.Sprintf("restore to dom0 having answered \"xl list\", n=%d", *n)},
		row{"restore_max_sec", round(restores[len(restores)-1]), 10, "the slowest of them"})
	p.step("guest")
	if _, err := h.Guest(ctx, defaultGuest()); err != nil {
		return err
	}
	if t := h.Times(); t.GuestBootSec > 0 {
		rows = append(rows, row{"guest_boot_sec", round(t.GuestBootSec), 0, "restore, create a guest, its heartbeat runs, and saved"})
	}
	rows = append(rows,
		row{"emulator_peak_mib", float64(rss / 1024), 1536, "peak resident memory of one lab after a restore"},
		row{"cache_mib", float64(diskMiB(string(h.Lab.Cache))), 1536, "the whole cache on disk"})
	p.end()
	if *asJSON {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Schema int    `json:"schema"`
			Lab    string `json:"lab"`
			Rows   []row  `json:"rows"`
		}{1, h.Lab.Manifest.Key(), rows})
	}
	fmt.Fprintf(env.Stdout, "lab %s on this machine (wall time, Bochs %s)\n", h.Lab.Manifest.Key(), h.Lab.Manifest.Version("bochs"))
	for _, r := range rows {
		limit := ""
		if r.Limit > 0 {
			limit = fmt.Sprintf("bar %g", r.Limit)
		}
		fmt.Fprintf(env.Stdout, "  %-20s %10.3f  %-9s %s\n", r.Name, r.Value, limit, r.Detail)
	}
	return nil
}

// peakKiB is the largest resident size that a process has had, in KiB, 0 when
// it is gone.
func peakKiB(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
