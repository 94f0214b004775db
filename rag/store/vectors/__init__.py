"""Vector index in one FAISS file: search, building, and incremental update.

The only package that imports faiss. Up to 100,000 vectors are compared exactly (IndexFlatIP). More
vectors are quantised to one byte per dimension and grouped into inverted lists around centroids; a
search visits only the lists nearest to the question (IndexIVFScalarQuantizer), as many as are needed
for a recall@10 of 0.97.

Every vector has an id, which is the number of its passage.
"""

from rag.store.vectors.build import VectorIndexInfo, build_vector_file, update_vector_file
from rag.store.vectors.faiss_io import Ids, VectorBatches, Vectors
from rag.store.vectors.index import VectorIndex

__all__ = [
    "Ids",
    "VectorBatches",
    "VectorIndex",
    "VectorIndexInfo",
    "Vectors",
    "build_vector_file",
    "update_vector_file",
]
