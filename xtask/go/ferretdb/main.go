// Command ferretdb serves the MongoDB wire protocol from SQLite files or from PostgreSQL, for suites.
//
// FerretDB's own command refuses to start unless its release process stamped it; embedding it does not.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	version := flag.Bool("version", false, "say what this is, and leave")
	address := flag.String("listen", "", "host:port to listen on")
	handler := flag.String("handler", "sqlite", "what keeps the data: sqlite or postgresql")
	place := flag.String("url", "", "file:FOLDER/ for sqlite, postgres://… for postgresql")
	flag.Parse()
	if *version {
		fmt.Println("ferretdb, embedded, for suites")
		return
	}
	if err := serve(*address, *handler, *place); err != nil {
		fmt.Fprintln(os.Stderr, "ferretdb:", err)
		os.Exit(1)
	}
}

func serve(address, handler, place string) error {
	// Below errors it writes whole refused commands, data included.
	quiet := &slog.HandlerOptions{Level: slog.LevelError}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:      ferretdb.ListenerConfig{TCP: address},
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, quiet)),
		Handler:       handler,
		SQLiteURL:     place,
		PostgreSQLURL: place,
	})
	if err != nil {
		return err
	}
	until, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return server.Run(until)
}
