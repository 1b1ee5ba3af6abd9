package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"hangbench/guests/beat"
)

const (
	compilePart = "compile"
	// buildJobs is how many programs of a build run at a time on each vCPU.
	buildJobs = 4
	// buildSources is how many results the programs of a vCPU write in turn.
	buildSources = 64
	// sourceBytes is what each of them hashes.
	sourceBytes = 64 << 10
	buildDir    = "/build"
)

// needBuild makes the folder of the results.
func (*supervisor) needBuild() error { return os.MkdirAll(buildDir, 0o755) }

// builder runs programs, several at a time, and each for a short time, as make does.
func builder(page *beat.Page, cpu int) error {
	for n := 0; ; n++ {
		if n >= buildJobs {
			var status unix.WaitStatus
			for {
				if _, err := unix.Wait4(-1, &status, 0, nil); !errors.Is(err, unix.EINTR) {
					if err != nil {
						return fmt.Errorf("wait for a program of a build: %w", err)
					}
					break
				}
			}
			if !status.Exited() || status.ExitStatus() != 0 {
				return fmt.Errorf("a program of a build ended with status %#x", uint32(status))
			}
			page.Work(cpu)
		}
		result := filepath.Join(buildDir, fmt.Sprintf("%d-%d.o", cpu, n%buildSources))
		cmd := exec.Command(self, compilePart, strconv.Itoa(n%buildSources), result)
		cmd.Stderr, cmd.Env = os.Stderr, []string{"GOMAXPROCS=1", "GOGC=off"}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start a program of a build: %w", err)
		}
		if err := cmd.Process.Release(); err != nil {
			return err
		}
	}
}

// compile hashes a part of this program, and writes the result to a new file that it then
// gives its name, as compilers do. Its arguments are the number of the part and the name.
func compile(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%d arguments instead of a number and a file", len(args))
	}
	n, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number of a part", args[0])
	}
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer f.Close()
	source := make([]byte, sourceBytes)
	size, err := f.ReadAt(source, n*sourceBytes%(1<<20))
	if err != nil {
		return fmt.Errorf("read a part of this program: %w", err)
	}
	sum := sha256.Sum256(source[:size])
	next := fmt.Sprintf("%s.%d", args[1], os.Getpid())
	if err := os.WriteFile(next, sum[:], 0o600); err != nil {
		return err
	}
	return os.Rename(next, args[1])
}
