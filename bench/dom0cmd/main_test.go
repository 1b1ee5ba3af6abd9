package dom0cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"hangbench/bench/dom0/recovery"
	"hangbench/bench/exit"
	"hangbench/cgo/xenctrl"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	isDom0 := false
	if xen, err := xenctrl.Open(); err == nil {
		xen.Close()
		isDom0 = true
	}
	for _, c := range []struct {
		args           []string
		status         int
		stdout, stderr string // parts of them
	}{
		{nil, exit.Usage, "", "give a command"},
		{[]string{"help"}, exit.Done, "recover  DOMAIN | --all", ""},
		{[]string{"watch", "--help"}, exit.Done, "--mechanism", ""},
		{[]string{"frobnicate"}, exit.Usage, "", `no command "frobnicate"`},
		{[]string{"watch"}, exit.Usage, "", "watch: 0 arguments, want DOMAIN"},
		{[]string{"watch", "a", "b"}, exit.Usage, "", "watch: 2 arguments, want DOMAIN"},
		{[]string{"watch", "a", "--mechanism", "magic"}, exit.Usage, "", "magic"},
		{[]string{"watch", "a", "--mechanism", "none"}, exit.Usage, "", "that is no monitor"},
		{[]string{"watch", "a", "--driver", "magic"}, exit.Usage, "", "--driver magic"},
		{[]string{"watch", "a", "--no-such-flag"}, exit.Usage, "", "no-such-flag"},
		{[]string{"recover"}, exit.Usage, "", "either a DOMAIN or --all"},
		{[]string{"recover", "guest", "--all"}, exit.Usage, "", "either a DOMAIN or --all"},
		{[]string{"run", "ci", "--guests", "/nonexistent"}, exit.Usage, "", "--guests"},
		{[]string{"watch", "guest"}, exit.Missing, "", "dom0"},
		{[]string{"recover", "guest"}, exit.Missing, "", "dom0"},
		{[]string{"doctor"}, exit.Missing, "missing dom0", "not usable as a Xen host"},
	} {
		if c.status == exit.Missing && isDom0 {
			continue // what is missing elsewhere is there
		}
		var stdout, stderr bytes.Buffer
		status := Main(t.Context(), c.args, &stdout, &stderr)
		if status != c.status || !strings.Contains(stdout.String(), c.stdout) ||
			!strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%v: status %d, want %d, and %q and %q in\n%s\n%s",
				c.args, status, c.status, c.stdout, c.stderr, stdout.String(), stderr.String())
		}
	}
}

// TestEndInterrupted: an interrupted command says that, and what has failed otherwise.
func TestEndInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[string]error{
		"hangbench: interrupted; to go on, give the command again\n": fmt.Errorf("domain 3: %w", ctx.Err()),
		"hangbench: the guest stays paused\n":                        errors.New("the guest stays paused"),
	} {
		var stderr bytes.Buffer
		if status := end(ctx, err, &stderr); status != exit.Interrupted || stderr.String() != want {
			t.Errorf("%v: status %d, %q", err, status, stderr.String())
		}
	}
}

// TestDoctor: a host is usable if all that is needed is there.
func TestDoctor(t *testing.T) {
	t.Parallel()
	found := []Finding{{What: "dom0", OK: true, Needed: true}, {What: "altp2m", Remedy: "boot with altp2m=1"}}
	var b bytes.Buffer
	if err := doctor(&b, found); err != nil || !strings.Contains(b.String(), "usable") ||
		!strings.Contains(b.String(), "boot with altp2m=1") {
		t.Errorf("%v:\n%s", err, b.String())
	}
	found[0].OK = false
	b.Reset()
	if err := doctor(&b, found); exit.Status(t.Context(), err) != exit.Missing || strings.Contains(b.String(), "usable") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

// TestExamineVersion: what Xen's command line says of altp2m and superpages.
func TestExamineVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v             *xenctrl.Version
		altp2m, small bool
	}{
		{nil, false, false},
		{&xenctrl.Version{CommandLine: "altp2m=1 hap_2mb=0 hap_1gb=0"}, true, true},
		{&xenctrl.Version{CommandLine: "altp2m"}, true, false},
		{&xenctrl.Version{CommandLine: "noaltp2m=1"}, false, false},
	} {
		got := map[string]bool{}
		for _, f := range examineVersion(c.v, "") {
			got[f.What] = f.OK
		}
		if got["altp2m"] != c.altp2m || got["small pages"] != c.small || got["Xen"] != (c.v != nil) {
			t.Errorf("%+v: %v", c.v, got)
		}
	}
}

// TestExamineRelease: doctor says what a release of Xen brings, and tells what was left out
// of its build from what its command line does not allow.
func TestExamineRelease(t *testing.T) {
	t.Parallel()
	const small = "altp2m=1 hap_2mb=0 hap_1gb=0"
	for _, c := range []struct {
		name, line, config string
		minor              int
		what               string
		ok                 bool
		says               string
	}{
		{"an old release has altp2m", small, "# CONFIG_ALTP2M is not set\n", 17, "altp2m", true, small},
		{"built without altp2m", small, "CONFIG_X86=y\n# CONFIG_ALTP2M is not set\n", 20, "altp2m", false,
			"CONFIG_ALTP2M=y"},
		{"altp2m not allowed", "", "CONFIG_ALTP2M=y\n", 20, "altp2m", false, "put altp2m=1"},
		{"built with events", small, "CONFIG_VM_EVENT=y\n", 22, "vm_event", true, ""},
		{"built without events", small, "# CONFIG_VM_EVENT is not set\n", 22, "vm_event", false, "CONFIG_VM_EVENT=y"},
		{"an option of another release", small, "# CONFIG_VM_EVENT is not set\n", 20, "vm_event", true, ""},
		{"built without events, before", small, "# CONFIG_MEM_ACCESS is not set\n", 20, "vm_event", false,
			"CONFIG_MEM_ACCESS=y"},
		{"superpages", "altp2m=1", "", 20, "small pages", false, "before Xen 4.22"},
		{"superpages after restore", "altp2m=1", "", 21, "small pages", false,
			"before Xen 4.22, and a guest that was restored"},
		{"the lock", small, "", 21, "free reads", false, "waits while another guest"},
		{"no lock", small, "", 22, "free reads", true, "take no lock"},
	} {
		found := false
		for _, f := range examineVersion(&xenctrl.Version{Major: 4, Minor: c.minor, CommandLine: c.line}, c.config) {
			if f.What != c.what {
				continue
			}
			found = true
			if f.OK != c.ok || !strings.Contains(f.Detail+" "+f.Remedy, c.says) {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if !found {
			t.Errorf("%s: there is no finding %s", c.name, c.what)
		}
	}
}

// TestWatchCommand: the command line with which kills are tried is one that the program
// takes.
func TestWatchCommand(t *testing.T) {
	t.Parallel()
	args := recovery.WatchCommand("hangbench", "guest", "xenctrl", "cr3")[1:]
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
		c.flags(f)
		if err := f.Parse(args[1:]); err != nil || f.NArg() != 1 || f.Arg(0) != "guest" {
			t.Errorf("%v: arguments %v, %v", args, f.Args(), err)
		}
		for name, want := range map[string]string{"driver": "xenctrl", "mechanism": "cr3", "json": "true"} {
			if got := f.Lookup(name).Value.String(); got != want {
				t.Errorf("--%s is %s, want %s", name, got, want)
			}
		}
		return
	}
	t.Errorf("there is no command %s", args[0])
}
