package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"hangbench/guests/beat"
)

const eaterPart = "eater"

// sparedBytes is what the worker leaves of the guest's memory to others. A process that
// uses it up has to start in it first.
const sparedBytes = 16 << 20

// scarcer keeps most of the guest's memory, and starts a process again and again that uses
// up the rest, until the kernel kills that process for want of memory.
func scarcer(page *beat.Page, cpu int) error {
	if err := oomScore("-1000"); err != nil { // the kernel kills somebody else
		return err
	}
	available, err := memory("MemAvailable")
	if err != nil {
		return err
	}
	if size := available - sparedBytes; size > 0 {
		b, err := anonymous(size)
		if err != nil {
			return err
		}
		touch(b)
	}
	for {
		eater := exec.Command(self, eaterPart)
		eater.Stderr = os.Stderr
		eater.Env = []string{"GOMAXPROCS=1"}
		err := eater.Run()
		if eater.ProcessState == nil {
			return fmt.Errorf("start the process that uses up memory: %w", err)
		}
		if s, ok := eater.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
			return fmt.Errorf("the process that uses up memory was not killed for it: %v", eater.ProcessState)
		}
		page.Work(cpu)
	}
}

// eatenBytes is how much memory eat takes at a time.
const eatenBytes = 1 << 20

// eat uses up memory. It has the kernel kill this process first.
func eat([]string) error {
	if err := oomScore("1000"); err != nil {
		return err
	}
	for {
		b, err := anonymous(eatenBytes)
		if err != nil {
			return err
		}
		touch(b)
	}
}

// touch writes to each page.
func touch(b []byte) {
	for i := 0; i < len(b); i += blockBytes {
		b[i] = 1
	}
}

// oomScore says how soon the kernel shall kill this process for want of memory, from
// -1000 for never to 1000 (proc_pid_oom_score_adj(5)).
func oomScore(score string) error {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(score), 0); err != nil {
		return fmt.Errorf("choose whom the kernel kills for want of memory: %w", err)
	}
	return nil
}
