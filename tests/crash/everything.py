"""Imports what the processes that are killed need, where they are forked from."""

from __future__ import annotations

import faiss
import PIL.Image
import torch
import zoneinfo  # noqa: F401

import commands.schedule
import db.recover
import db.vector_check
import indexer.carry
import indexer.search
import indexer.service
import models.teaching.version
import render.doctor
import tests.crash.victim
