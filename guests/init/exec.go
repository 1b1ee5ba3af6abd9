package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"hangbench/guests/beat"
)

// runner runs the program that dom0 names, again and again. It ends with the first run
// that does not end with status 0.
func runner(page *beat.Page, cpu int) error {
	runtime.LockOSThread() // the program ends with the thread that starts it
	command := page.Command()
	if len(command) == 0 {
		return errors.New("dom0 names no program")
	}
	for {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, []string{}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run %s: %w", command[0], err)
		}
		page.Work(cpu)
	}
}
