package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"hangbench/bench/dom0"
	"hangbench/cgo/libvmi"
	"hangbench/cgo/xenctrl"
	"hangbench/guests/lab"
)

// finding is one thing a host has or lacks.
type finding struct {
	what   string
	ok     bool
	detail string // what was found
	remedy string // what to do, if not ok
	needed bool   // nothing works without it
}

func doctorCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "doctor", "", "Say for each kind of host what is there and what is missing, with the remedy. Exit status 3 when neither kind is usable.")
	var lf labFlags
	lf.add(f)
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	usable := false
	for _, host := range []struct {
		name     string
		findings []finding
	}{
		{"host lab (emulated Xen host; the default)", lf.examine(env)},
		{"host xen (this machine as dom0)", examineXen()},
		{"driver libvmi", examineLibVMI(ctx)},
	} {
		fmt.Fprintln(env.Stdout, host.name)
		good := true
		for _, x := range host.findings {
			mark := "ok     "
			if !x.ok {
				mark = "missing"
				if !x.needed {
					mark = "absent "
				}
			}
			fmt.Fprintf(env.Stdout, "  %s %-14s %s\n", mark, x.what, x.detail)
			if !x.ok && x.remedy != "" {
				fmt.Fprintf(env.Stdout, "          %-14s %s\n", "", x.remedy)
			}
			good = good && (x.ok || !x.needed)
		}
		if good && strings.HasPrefix(host.name, "host") {
			usable = true
			fmt.Fprintln(env.Stdout, "  usable")
		}
	}
	if !usable {
		return missingError{errors.New("neither the lab nor a real Xen host is usable here")}
	}
	return nil
}

func program(name, remedy string) finding {
	path, err := exec.LookPath(name)
	return finding{what: name, ok: err == nil, detail: path, remedy: remedy, needed: true}
}

func (l *labFlags) examine(env *Env) []finding {
	found := []finding{
		{what: "machine", ok: runtime.GOOS == "linux" && runtime.GOARCH == "amd64", detail: runtime.GOOS + "/" + runtime.GOARCH,
			remedy: "the emulator comes as a Linux amd64 program", needed: true},
		program("go", "install Go; the dom0 program is built from source"),
		program("apt-get", "install apt (Debian and Ubuntu have it); it fetches and verifies the lab's packages"),
	}
	src, err := l.findSource()
	found = append(found, finding{what: "source", ok: err == nil, detail: src, remedy: "run in a checkout of hangbench, or name it with --source", needed: true})
	c, err := lab.FindCache(l.cache, env.Getenv)
	if err != nil {
		return append(found, finding{what: "cache", detail: err.Error(), remedy: "name a folder with --cache", needed: true})
	}
	found = append(found, finding{what: "cache", ok: true, detail: fmt.Sprintf("%s, %d MiB", c, diskMiB(string(c))), needed: true})
	// These come by themselves.
	have := func(what string, pattern ...string) finding {
		m, _ := filepath.Glob(filepath.Join(append([]string{string(c)}, pattern...)...))
		x := finding{what: what, ok: len(m) > 0, remedy: "hangbench lab build makes it"}
		if x.ok {
			x.detail = m[0]
		}
		return x
	}
	return append(found,
		have("packages", "packages", "packages.json"),
		have("emulator", "prefix-*", "usr/bin/bochs-bin"),
		have("lab", "labs", "*", lab.DiscFile),
		have("snapshot", "labs", "*", "snapshots", "*"),
		finding{what: "altp2m", ok: true, detail: "the lab's Xen is booted with altp2m=1 hap_1gb=0 hap_2mb=0"})
}

func examineXen() []finding {
	built := finding{what: "this program", ok: xenctrl.Built, detail: "built with the Xen libraries", needed: true,
		remedy: "install libxen-dev and a C compiler, then: make build-xen"}
	if !built.ok {
		built.detail = "built without the Xen libraries"
	}
	found := []finding{built}
	caps, err := os.ReadFile("/proc/xen/capabilities")
	isDom0 := err == nil && strings.Contains(string(caps), "control_d")
	x := finding{what: "dom0", ok: isDom0, detail: "this machine is a Xen control domain", needed: true, remedy: "boot this machine into Xen (package xen-system-amd64), and mount xenfs on /proc/xen"}
	if !isDom0 {
		x.detail = "this machine is not a Xen control domain"
	}
	found = append(found, x, program("xl", "install xen-utils"))
	altp2m := finding{what: "altp2m", detail: "unknown: Xen cannot be asked", needed: false, remedy: "put altp2m=1 hap_2mb=0 hap_1gb=0 on Xen's command line"}
	pages := finding{what: "small pages", detail: "unknown: Xen cannot be asked", needed: false,
		remedy: "put hap_2mb=0 hap_1gb=0 on Xen's command line: altp2m views are not reliable on guests with superpages"}
	if xen, err := xenctrl.Open(); err == nil {
		defer xen.Close()
		if v, err := xen.Version(); err == nil {
			found = append(found, finding{what: "Xen", ok: true, detail: v.String()})
			altp2m.ok = strings.Contains(" "+v.CommandLine+" ", " altp2m=1 ") || strings.Contains(" "+v.CommandLine+" ", " altp2m ")
			altp2m.detail = "Xen's command line: " + v.CommandLine
			if pages.ok = !dom0.Superpages(v.CommandLine); pages.ok {
				pages.detail = "Xen gives guests no superpages"
			} else {
				pages.detail = "Xen gives guests superpages"
			}
		}
	}
	return append(found, altp2m, pages)
}

func examineLibVMI(ctx context.Context) []finding {
	x := finding{what: "LibVMI", remedy: "only the driver libvmi needs it; the driver xenctrl does without"}
	if v, err := lab.FindLibVMI(ctx); err != nil {
		x.detail = err.Error()
	} else {
		x.ok, x.detail = true, v.Version+", "+v.Library()
	}
	built := finding{what: "this program", ok: libvmi.Built, detail: "built with LibVMI", remedy: "in the lab: hangbench lab build --with-libvmi; in a dom0: make build-xen TAGS=xen,libvmi"}
	if !built.ok {
		built.detail = "built without LibVMI"
	}
	return []finding{x, built}
}
