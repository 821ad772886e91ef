# The check of the Dockerfile must refuse this: no version is pinned, and the last user is root.
FROM debian
RUN apt-get install git
USER root
