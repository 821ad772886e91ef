// Command composelint reads compose files the way docker does and prints the services it found.
// It is strict: a misspelt key, an unknown volume or a value of the wrong kind is an error.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Println("usage: composelint FILE...")
		return
	}
	options, err := cli.NewProjectOptions(os.Args[1:])
	if err != nil {
		fail(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		fail(err)
	}
	// One line a service: its name, its image, and what watches over it.
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		health := "none"
		if check := service.HealthCheck; check != nil && check.Disable {
			health = "disabled"
		} else if check != nil {
			health = "test"
		}
		fmt.Printf("%s %s %s\n", name, service.Image, health)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
