"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('bases',
    sa.Column('digest', sa.String(length=71), nullable=False),
    sa.Column('name', sa.String(length=512), nullable=False),
    sa.Column('manifest', sa.Text(), nullable=False),
    sa.Column('announced_seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_bases'))
    )
    op.create_table('blobs',
    sa.Column('digest', sa.String(length=71), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_blobs'))
    )
    op.create_table('feed',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('first_seq', sa.BigInteger(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_feed'))
    )
    op.create_table('tenants',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tenants')),
    sa.UniqueConstraint('name', name=op.f('uq_tenants_name'))
    )
    op.create_table('adapters',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('tenant_id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('next_number', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_adapters_tenant_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_adapters')),
    sa.UniqueConstraint('tenant_id', 'name', name=op.f('uq_adapters_tenant_id'))
    )
    op.create_table('versions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('adapter_id', sa.Integer(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('digest', sa.String(length=71), nullable=False),
    sa.Column('base', sa.String(length=71), nullable=False),
    sa.Column('kind', sa.String(length=63), nullable=False),
    sa.Column('rank', sa.Integer(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('manifest', sa.Text(), nullable=False),
    sa.Column('lineage', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['adapter_id'], ['adapters.id'], name=op.f('fk_versions_adapter_id')),
    sa.ForeignKeyConstraint(['base'], ['bases.digest'], name=op.f('fk_versions_base')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_versions')),
    sa.UniqueConstraint('adapter_id', 'number', name=op.f('uq_versions_adapter_id'))
    )
    op.create_index(op.f('ix_versions_digest'), 'versions', ['digest'], unique=False)

    op.create_table('aliases',
    sa.Column('adapter_id', sa.Integer(), nullable=False),
    sa.Column('alias', sa.String(length=63), nullable=False),
    sa.Column('version_id', sa.Integer(), nullable=True),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['adapter_id'], ['adapters.id'], name=op.f('fk_aliases_adapter_id')),
    sa.ForeignKeyConstraint(['version_id'], ['versions.id'], name=op.f('fk_aliases_version_id')),
    sa.PrimaryKeyConstraint('adapter_id', 'alias', name=op.f('pk_aliases'))
    )
    op.create_table('audit',
    sa.Column('seq', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('actor', sa.String(length=128), nullable=False),
    sa.Column('action', sa.String(length=32), nullable=False),
    sa.Column('adapter_id', sa.Integer(), nullable=True),
    sa.Column('alias', sa.String(length=63), nullable=True),
    sa.Column('version_id', sa.Integer(), nullable=True),
    sa.Column('subject', sa.String(length=512), nullable=False),
    sa.ForeignKeyConstraint(['adapter_id'], ['adapters.id'], name=op.f('fk_audit_adapter_id')),
    sa.ForeignKeyConstraint(['version_id'], ['versions.id'], name=op.f('fk_audit_version_id')),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_audit'))
    )
    op.create_index(op.f('ix_audit_adapter_id'), 'audit', ['adapter_id'], unique=False)

    op.create_table('version_files',
    sa.Column('version_id', sa.Integer(), nullable=False),
    sa.Column('path', sa.String(length=128), nullable=False),
    sa.Column('blob', sa.String(length=71), nullable=False),
    sa.ForeignKeyConstraint(['blob'], ['blobs.digest'], name=op.f('fk_version_files_blob')),
    sa.ForeignKeyConstraint(['version_id'], ['versions.id'], name=op.f('fk_version_files_version_id')),
    sa.PrimaryKeyConstraint('version_id', 'path', name=op.f('pk_version_files'))
    )
    op.create_index(op.f('ix_version_files_blob'), 'version_files', ['blob'], unique=False)



def downgrade() -> None:
    op.drop_index(op.f('ix_version_files_blob'), table_name='version_files')

    op.drop_table('version_files')
    op.drop_index(op.f('ix_audit_adapter_id'), table_name='audit')

    op.drop_table('audit')
    op.drop_table('aliases')
    op.drop_index(op.f('ix_versions_digest'), table_name='versions')

    op.drop_table('versions')
    op.drop_table('adapters')
    op.drop_table('tenants')
    op.drop_table('feed')
    op.drop_table('blobs')
    op.drop_table('bases')
