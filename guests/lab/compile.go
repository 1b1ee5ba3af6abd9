package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/place"
	"hangbench/guests/lab/toolchain"
)

// Sources of the lab's programs, relative to the root of this project's source.
const (
	agentPackage    = "./bench/cmd/hangbench-dom0" // runs in dom0 as place.Agent
	initPackage     = "./guests/init"              // runs in guests as /init
	yardstickSource = "bench/price/yardstick/eventloop.c"
	testsPackage    = "./cgo/xenctrl" // its tests run in dom0 as place.Tests
)

// Names of the lab's programs, in the manifest and in the folder of a build.
const (
	agentProgram     = "agent"
	initProgram      = "init"
	yardstickProgram = "yardstick"
	testsProgram     = "tests"
)

// dom0Programs maps the paths of the lab's programs in dom0 to their names.
func (o *Options) dom0Programs() map[string]string {
	programs := map[string]string{place.Agent: agentProgram, place.Yardstick: yardstickProgram}
	if o.Tests {
		programs[place.Tests] = testsProgram
	}
	return programs
}

// compileAll compiles the lab's programs into the folder work. It returns the
// SHA-256 of each. host is the environment of the go command.
func (o *Options) compileAll(ctx context.Context, host []string, cc, work string, vmi *staged) (
	sums map[string]string, err error,
) {
	o.Log.Info("compile the lab's programs")
	tags := "xen"
	agentEnv := toolchain.GoEnv(cc)
	if vmi.dir != "" {
		tags = "xen,libvmi"
		agentEnv = append(agentEnv, vmi.env()...)
	}
	out := func(program string) string { return filepath.Join(work, program) }
	withXen := func(program, source string, command ...string) error {
		args := slices.Concat(command, toolchain.GoFlags(), []string{"-tags", tags, "-o", out(program), source})
		return o.golang(ctx, append(host, agentEnv...), args...)
	}
	type step struct {
		program string
		compile func() error
	}
	steps := []step{
		{agentProgram, func() error { return withXen(agentProgram, agentPackage, "build") }},
		{initProgram, func() error {
			return o.golang(ctx, append(host, "CGO_ENABLED=0"), "build", "-trimpath", "-buildvcs=false",
				"-ldflags=-s -w -buildid=", "-o", out(initProgram), initPackage)
		}},
		{yardstickProgram, func() error {
			return o.compile(ctx, cc, out(yardstickProgram), filepath.Join(o.Source, yardstickSource))
		}},
	}
	if o.Tests {
		steps = append(steps, step{testsProgram, func() error {
			return withXen(testsProgram, testsPackage, "test", "-c")
		}})
	}
	sums = map[string]string{}
	for _, s := range steps {
		if err := s.compile(); err != nil {
			return nil, fmt.Errorf("compile the lab's %s: %w", s.program, err)
		}
		if sums[s.program], err = hashFile(out(s.program)); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

var errNoGo = &debian.MissingToolError{
	Tool:   "go",
	Remedy: "install Go " + strings.TrimPrefix(runtime.Version(), "go") + " or newer, which builds the lab's programs",
}

// hostGo asks the go command for its version and returns the environment in which
// it builds the lab's programs: the user's places for modules and compiled
// packages, and no other setting of the user. Flags and experiments of the user
// would change the programs, and with them the lab.
func (o *Options) hostGo(ctx context.Context) (env []string, version string, err error) {
	keep := []string{
		"GOPATH", "GOMODCACHE", "GOCACHE", "GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE",
		"GOVCS", "GOAUTH", "GOTOOLCHAIN",
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"env", "-json", "GOVERSION"}, keep...)...)
	cmd.Dir = o.Source
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, "", errNoGo
	}
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(ended.Stderr))
	}
	var values map[string]string
	if err == nil {
		err = json.Unmarshal(out, &values)
	}
	if err != nil {
		return nil, "", fmt.Errorf("ask for Go's version and folders: %w", err)
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "GO") && !strings.HasPrefix(name, "CGO_") {
			env = append(env, v)
		}
	}
	for _, name := range keep {
		if values[name] != "" {
			env = append(env, name+"="+values[name])
		}
	}
	env = append(env, "GOENV=off", "GOWORK=off", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1")
	return env[:len(env):len(env)], values["GOVERSION"], nil
}

// golang runs the go command in the root of the source.
func (o *Options) golang(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = o.Source
	cmd.Env = env
	err := runTool(cmd)
	if errors.Is(err, exec.ErrNotFound) {
		return errNoGo
	}
	return err
}

// runTool runs a program of a compiler. Its output is part of the error. If this process is
// killed, the program is interrupted.
func runTool(cmd *exec.Cmd) error {
	// The kernel sends Pdeathsig when the thread ends that has started the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	output, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	name := strings.Join(cmd.Args, " ")
	for line := range strings.Lines(string(output)) {
		no := unix.ENOSPC.Error()
		if i := strings.Index(strings.ToLower(line), ": "+no); i >= 0 {
			return fmt.Errorf("%s: %s: %w", filepath.Base(cmd.Path), strings.TrimSpace(line[:i]), unix.ENOSPC)
		}
	}
	return fmt.Errorf("%s: %w\n%s", name, err, bytes.TrimSpace(output))
}

// compile compiles a C program against Xen's libraries. It passes the source
// through standard input, so that the program does not depend on the source's
// path.
func (o *Options) compile(ctx context.Context, cc, out, source string) error {
	src, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, cc, "-O2", "-Wall", "-Wextra", "-D__XEN_TOOLS__", "-x", "c", "-o", out, "-",
		"-lxenctrl", "-lxenevtchn")
	cmd.Stdin = bytes.NewReader(src)
	if err := runTool(cmd); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return nil
}
